"""MLflow runs: one parent a pipeline run, one child a model."""

import math
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from srlm_kedro.tracking.process import is_gone, this_process

MODEL = "model"
"""The tag that tells which model a child is about (`m2`)."""
_PROCESS = "srlm.process"
_PARENT = "mlflow.parentRunId"
_BATCH = 1000
_FOUNDATION = {
    "m0": "M0: the pretrained model.",
    "sft": "The SFT baseline: M0 fine-tuned on IFT alone.",
    "m1": "M1: M0 fine-tuned on the seed data, IFT + EFT.",
}
_MANY = 1000


class RunTree:
    """The parent run and its children, by model."""

    def __init__(self, client: MlflowClient, parent: str) -> None:
        """`parent` is the id of a run that is open already."""
        self.client = client
        self.parent = parent
        self.experiment: str = client.get_run(parent).info.experiment_id
        self._children: dict[str, str] = {}
        self._open: set[str] = set()
        self._lock = threading.Lock()
        self.tag(parent, {_PROCESS: this_process()})

    @property
    def children(self) -> dict[str, str]:
        """Run id by model, of the children opened so far."""
        return dict(self._children)

    def child(self, model: str) -> str:
        """The id of the model's run; opened at the first call."""
        with self._lock:
            if model not in self._children:
                self._children[model] = self._start(model)
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
        """Writes numbers of many steps; each row has a `step`."""
        now = int(time.time() * 1000)
        found = [
            Metric(_plain(key), float(value), now, int(row["step"]))
            for row in rows
            for key, value in row.items()
            if key != "step" and _is_number(value)
        ]
        for start in range(0, len(found), _BATCH):
            self.client.log_batch(run, metrics=found[start : start + _BATCH])

    def recorded_models(self) -> set[str]:
        """The models that have a finished run in this experiment."""
        runs = self._search("attributes.status = 'FINISHED'")
        return {run.data.tags[MODEL] for run in runs if MODEL in run.data.tags}

    def mark_killed(self) -> int:
        """Closes as KILLED what dead processes of this host left open; gives how many."""
        left = self._search("attributes.status = 'RUNNING'")
        dead = [run for run in left if is_gone(run.data.tags.get(_PROCESS, ""))]
        for run in dead:
            self.client.set_terminated(run.info.run_id, "KILLED")
        return len(dead)

    def _search(self, filters: str) -> list[Run]:
        return list(self.client.search_runs([self.experiment], filters, max_results=_MANY))

    def _start(self, model: str) -> str:
        tags = {
            _PARENT: self.parent,
            MODEL: model,
            _PROCESS: this_process(),
            "mlflow.note.content": _origin(model),
        }
        run = self.client.create_run(self.experiment, run_name=model.upper(), tags=tags)
        return run.info.run_id


def iteration_of(model: str) -> int | None:
    """The step of a model on the curve over iterations: 0 for the baseline, t for M_t."""
    if model == "sft":
        return 0
    digits = model.removeprefix("m")
    return int(digits) if digits.isdecimal() and digits != "0" else None


def _origin(model: str) -> str:
    t = iteration_of(model)
    if t is not None and t >= 2:
        return f"M{t}: M{t - 1} trained on the preferences that it made itself."
    return _FOUNDATION.get(model, "")


def _is_number(value: Any) -> bool:
    try:
        return value is not None and math.isfinite(value)
    except TypeError:
        return False


def _plain(name: str) -> str:
    """A name that MLflow takes."""
    return "".join(c if c.isalnum() or c in "/_-. :" else "_" for c in name)
