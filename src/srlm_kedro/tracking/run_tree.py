"""MLflow runs: one parent a pipeline run, one child a model."""

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from srlm_kedro.tracking.process import is_left, writer

MODEL = "model"
"""The tag that tells which model a child is about (`m2`)."""
_CHAIN = "chain"
_PARENT = "mlflow.parentRunId"
_BATCH = 1000
_FOUNDATION = {"m0": "pretraining", "sft": "M0 + IFT", "m1": "M0 + IFT + EFT"}
_MANY = 1000


class RunTree:
    """The parent run and its children, by model.

    Below a parent that was killed and goes on, its children go on too, and what was written to any
    of them stays written once.
    """

    def __init__(self, client: MlflowClient, parent: str, chain: str) -> None:
        """`parent` is the id of an open run; runs of other chains (controls) are kept apart."""
        self.client = client
        self.parent = parent
        self.chain = chain
        self.experiment: str = client.get_run(parent).info.experiment_id
        self._children: dict[str, str] = {}
        self._open: set[str] = set()
        self._points: dict[str, dict[tuple[str, int], float]] = {}
        self._lock = threading.RLock()
        self._writer = writer()
        self.tag(parent, self._writer)
        self._earlier = self._left_by_a_kill()
        for model, run in self._earlier.items():
            if run.info.status != "FINISHED":
                self.child(model)

    @property
    def continued(self) -> bool:
        """Whether an earlier process began this tree."""
        return bool(self._earlier)

    @property
    def models(self) -> set[str]:
        """The models that have a child, whoever opened it."""
        return {*self._earlier, *self._children}

    @property
    def children(self) -> dict[str, str]:
        """Run id by model, of the children that this process opened or reopened so far."""
        return dict(self._children)

    def child(self, model: str) -> str:
        """The id of the model's run; opened, or opened again, at the first call."""
        with self._lock:
            if model not in self._children:
                self._children[model] = self._start_or_reopen(model)
                self._open.add(model)
            return self._children[model]

    def end(self, model: str, status: str) -> None:
        """Closes a child, once; a second call changes nothing."""
        with self._lock:
            if model in self._open:
                self._open.discard(model)
                self.client.set_terminated(self._children[model], status)

    def end_all(self, status: str) -> None:
        """Closes every child that is still open."""
        for model in sorted(self._open):
            self.end(model, status)

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """Puts tags on a run."""
        self.client.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])

    def parameters(self, run: str, values: Mapping[str, str]) -> None:
        """Writes parameters; what is there already stays (MLflow lets none change)."""
        known = self.client.get_run(run).data.params
        new = [Param(_plain(key), value) for key, value in values.items() if key not in known]
        for start in range(0, len(new), 100):  # MLflow's limit of parameters a call
            self.client.log_batch(run, params=new[start : start + 100])

    def metrics(self, run: str, values: Mapping[str, float | None], step: int = 0) -> None:
        """Writes numbers of one step; those that are none or not finite are left out."""
        self.history(run, [{**values, "step": step}])

    def history(self, run: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes numbers of many steps; each row has a `step`.

        A number that stands at its step already is not written again; another number is, and
        MLflow shows the later.
        """
        now = int(time.time() * 1000)
        with self._lock:
            points = self._points_of(run)
            new = []
            for (key, step), value in _numbers(rows):
                if points.get((key, step)) != value:
                    points[key, step] = value
                    new.append(Metric(key, value, now, step))
            for start in range(0, len(new), _BATCH):
                self.client.log_batch(run, metrics=new[start : start + _BATCH])

    def drawn(self, run: str) -> set[str]:
        """The names of the numbers that stand in a run."""
        with self._lock:
            return {name for name, _ in self._points_of(run)}

    def newest(self) -> dict[str, str]:
        """The newest finished run of each model of this chain, as its id."""
        done = self._search(f"attributes.status = 'FINISHED' and tags.{_CHAIN} = '{self.chain}'")
        oldest_first = sorted(done, key=lambda run: run.info.start_time)
        return {
            run.data.tags[MODEL]: run.info.run_id for run in oldest_first if MODEL in run.data.tags
        }

    def mark_killed(self) -> int:
        """Closes as KILLED what processes left open that write no more; gives how many."""
        left = self._search("attributes.status = 'RUNNING'")
        dead = [run for run in left if is_left(run.data.tags)]
        for run in dead:
            self.client.set_terminated(run.info.run_id, "KILLED")
        return len(dead)

    def _search(self, filters: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment], filters, max_results=_MANY))

    def _left_by_a_kill(self) -> dict[str, Run]:
        """The newest child of each model below this parent, opened by an earlier process."""
        found = self._search(f"tags.{_PARENT} = '{self.parent}'")
        oldest_first = sorted(found, key=lambda run: run.info.start_time)
        return {run.data.tags[MODEL]: run for run in oldest_first if MODEL in run.data.tags}

    def _points_of(self, run: str) -> dict[tuple[str, int], float]:
        """What stands in a run, read once: (name, step) to number."""
        if run not in self._points:
            keys = self.client.get_run(run).data.metrics
            self._points[run] = {
                (point.key, point.step): point.value
                for key in keys
                for point in self.client.get_metric_history(run, key)
            }
        return self._points[run]

    def _start_or_reopen(self, model: str) -> str:
        if model not in self._earlier:
            return self._start(model)
        run = self._earlier[model].info.run_id
        self.client.update_run(run, status="RUNNING")
        self.tag(run, self._writer)
        return run

    def _start(self, model: str) -> str:
        tags = {
            _PARENT: self.parent,
            MODEL: model,
            _CHAIN: self.chain,
            **self._writer,
            "mlflow.note.content": f"{model.upper()}: {origin_of(model)}",
        }
        run = self.client.create_run(self.experiment, run_name=model.upper(), tags=tags)
        return run.info.run_id


def compare_link(experiment: str, runs: Sequence[str]) -> str:
    """Where MLflow's pages compare runs, past the mode for agents in which they open.

    `runs` comes first: the page reads it so.
    """
    asked = {"runs": list(runs), "experiments": [experiment]}
    query = {key: json.dumps(ids, separators=(",", ":")) for key, ids in asked.items()}
    return f"#/compare-runs?{urlencode({**query, 'workflowType': 'machine_learning'})}"


def iteration_of(model: str) -> int | None:
    """The step of a model on the curve over iterations: 0 for the baseline, t for M_t."""
    if model == "sft":
        return 0
    digits = model.removeprefix("m")
    return int(digits) if digits.isdecimal() and digits != "0" else None


def origin_of(model: str) -> str:
    """What a model is made from, in a few words."""
    t = iteration_of(model)
    if t is not None and t >= 2:
        return f"M{t - 1} + preferences of its own"
    return _FOUNDATION.get(model, model)


def _numbers(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, int], float]]:
    """Each finite number of the rows, as ((name, step), number)."""
    for row in rows:
        for key, value in row.items():
            if key != "step" and _is_number(value):
                yield (_plain(key), int(row["step"])), float(value)


def _is_number(value: Any) -> bool:
    try:
        return value is not None and math.isfinite(value)
    except TypeError:
        return False


def _plain(name: str) -> str:
    """A name that MLflow takes."""
    return "".join(c if c.isalnum() or c in "/_-. :" else "_" for c in name)
