"""MLflow runs: one parent per pipeline run, and below it one child per model."""

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from srlm_kedro.tracking.run_owner import is_abandoned, writer_tags

MODEL = "model"
"""The tag that tells which model a child is about (`m2`)."""
_CHAIN = "chain"
_PARENT = "mlflow.parentRunId"
_METRICS_PER_CALL = 1000
_PARAMETERS_PER_CALL = 100
_RUNS_PER_CALL = 1000
"""MLflow's limits."""
_ORIGINS = {"m0": "pretraining", "sft": "M0 + IFT", "m1": "M0 + IFT + EFT"}


class RunTree:
    """The parent run and its children, by model.

    If the parent is the continuation of a killed run, its children are continued too, and no
    number is written twice.
    """

    def __init__(self, client: MlflowClient, parent: str, chain: str) -> None:
        """The tree of the open run `parent`; runs of other chains (controls) are kept apart."""
        self.client = client
        self.parent = parent
        self.chain = chain
        self.experiment: str = client.get_run(parent).info.experiment_id
        self._children: dict[str, str] = {}
        self._open: set[str] = set()
        self._points: dict[str, dict[tuple[str, int], float]] = {}
        self._lock = threading.RLock()
        self._writer = writer_tags()
        self.tag(parent, self._writer)
        self._earlier = self._earlier_children()
        for model, run in self._earlier.items():
            if run.info.status != "FINISHED":
                self.child(model)

    @property
    def continued(self) -> bool:
        """Whether an earlier process began this tree."""
        return bool(self._earlier)

    @property
    def models(self) -> set[str]:
        """The models that have a child, of this process or an earlier one."""
        return {*self._earlier, *self._children}

    @property
    def children(self) -> dict[str, str]:
        """Run id by model, of the children that this process has opened or reopened."""
        return dict(self._children)

    def child(self, model: str) -> str:
        """The id of the model's run; the first call opens or reopens the run."""
        with self._lock:
            if model not in self._children:
                self._children[model] = self._start_or_reopen(model)
                self._open.add(model)
            return self._children[model]

    def end(self, model: str, status: str) -> None:
        """Closes a child; a second call changes nothing."""
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
        """Writes parameters that the run does not have yet (MLflow lets none change)."""
        known = self.client.get_run(run).data.params
        new = [Param(_allowed(key), value) for key, value in values.items() if key not in known]
        for start in range(0, len(new), _PARAMETERS_PER_CALL):
            self.client.log_batch(run, params=new[start : start + _PARAMETERS_PER_CALL])

    def metrics(self, run: str, values: Mapping[str, float | None], step: int = 0) -> None:
        """Writes metrics at one step, without those that are None or not finite."""
        self.history(run, [{**values, "step": step}])

    def history(self, run: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes metrics at many steps; each row has a `step`.

        A value that the run already has at its step is not written again. A different value is
        written, and MLflow shows the later one.
        """
        now = int(time.time() * 1000)
        with self._lock:
            points = self._points_of(run)
            new = []
            for (key, step), value in _numbers(rows):
                if points.get((key, step)) != value:
                    points[key, step] = value
                    new.append(Metric(key, value, now, step))
            for start in range(0, len(new), _METRICS_PER_CALL):
                self.client.log_batch(run, metrics=new[start : start + _METRICS_PER_CALL])

    def metric_names(self, run: str) -> set[str]:
        """The names of a run's metrics."""
        with self._lock:
            return {name for name, _ in self._points_of(run)}

    def newest(self) -> dict[str, str]:
        """The id of the newest finished run of each model of this chain."""
        done = self._search(f"attributes.status = 'FINISHED' and tags.{_CHAIN} = '{self.chain}'")
        oldest_first = sorted(done, key=lambda run: run.info.start_time)
        return {
            run.data.tags[MODEL]: run.info.run_id for run in oldest_first if MODEL in run.data.tags
        }

    def mark_killed(self) -> int:
        """Closes open runs whose process has ended as KILLED; returns how many there were."""
        running = self._search("attributes.status = 'RUNNING'")
        abandoned = [run for run in running if is_abandoned(run.data.tags)]
        for run in abandoned:
            self.client.set_terminated(run.info.run_id, "KILLED")
        return len(abandoned)

    def _search(self, filters: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment], filters, max_results=_RUNS_PER_CALL))

    def _earlier_children(self) -> dict[str, Run]:
        """The newest child of each model below this parent, opened by an earlier process."""
        found = self._search(f"tags.{_PARENT} = '{self.parent}'")
        oldest_first = sorted(found, key=lambda run: run.info.start_time)
        return {run.data.tags[MODEL]: run for run in oldest_first if MODEL in run.data.tags}

    def _points_of(self, run: str) -> dict[tuple[str, int], float]:
        """The run's metrics by (name, step), read from MLflow once."""
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
    """The address, within MLflow's UI, of the page that compares runs.

    The page needs `runs` as the first part of its query. `workflowType` leads past the mode for
    agents in which MLflow's UI opens.
    """
    asked = {"runs": list(runs), "experiments": [experiment]}
    query = {key: json.dumps(ids, separators=(",", ":")) for key, ids in asked.items()}
    return f"#/compare-runs?{urlencode({**query, 'workflowType': 'machine_learning'})}"


def iteration_of(model: str) -> int | None:
    """The step of a model on a curve over iterations: 0 for the SFT baseline, t for M_t."""
    if model == "sft":
        return 0
    digits = model.removeprefix("m")
    return int(digits) if digits.isdecimal() and digits != "0" else None


def origin_of(model: str) -> str:
    """What a model is made from, in a few words."""
    t = iteration_of(model)
    if t is not None and t >= 2:
        return f"M{t - 1} + preferences of its own"
    return _ORIGINS.get(model, model)


def _numbers(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[str, int], float]]:
    """Each finite number of the rows, as ((name, step), number)."""
    for row in rows:
        for key, value in row.items():
            if key != "step" and _is_number(value):
                yield (_allowed(key), int(row["step"])), float(value)


def _is_number(value: Any) -> bool:
    try:
        return value is not None and math.isfinite(value)
    except TypeError:
        return False


def _allowed(name: str) -> str:
    """The name with an underscore for each character that MLflow does not allow."""
    return "".join(c if c.isalnum() or c in "/_-. :" else "_" for c in name)
