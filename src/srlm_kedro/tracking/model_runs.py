"""Which model's MLflow run is opened, written to and closed at each event of a Kedro run."""

import json
import logging
import os
import threading
from collections.abc import Iterable
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.manifest import content_digest, current_digest, is_thinned
from srlm_kedro.freshness.recipe import output_path
from srlm_kedro.judge.prompt import prompt_version
from srlm_kedro.records import Checkpoint
from srlm_kedro.tracking.parent_run import open_recorder
from srlm_kedro.tracking.recorder import RunRecorder, split_name
from srlm_kedro.tracking.registry import registered_model
from srlm_kedro.tracking.run_owner import made_before_tracking

_log = logging.getLogger(__name__)
_OF_ALL_MODELS = ("report", "summary")


class TrackingHooks:
    """Writes one child run per model below the parent run that is open.

    Without a parent run (tracking is off) nothing is written. Worker processes write nothing
    either: what they made is recorded when the pipeline ends.
    """

    def __init__(self) -> None:
        self._recorder: RunRecorder | None = None
        self._process = 0
        self._lock = threading.RLock()
        self._begin(Pipeline([]), Pipeline([]), DataCatalog({}))

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Describes the parent run, which has just been opened."""
        self._recorder = open_recorder(registered_model(run_params.get("env")), content_digest)
        self._process = os.getpid()
        if self._recorder is None:
            return
        tree = self._recorder.tree
        if killed := tree.mark_killed():
            _log.info("MLflow: %d runs whose process has ended are marked KILLED.", killed)
        self._begin(_asked_pipelines(run_params) + pipeline, pipeline, catalog)
        name = _run_name(run_params, {*self._unsaved, *tree.models})
        self._recorder.describe_parent(name, self._parameters)
        for model in tree.children:
            self._describe(self._recorder, model)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Opens the model's child run at its first node."""
        if (recorder := self._own_recorder()) is not None:
            for model in _by_model(node.outputs):
                self._open(recorder, model)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Records the dataset, and closes the model's child run after its last one."""
        recorder = self._own_recorder()
        if recorder is None:
            return
        if isinstance(data, Checkpoint):
            data = self._catalog.load(dataset_name)  # it was moved out of the engine's folder
            self._drop_thinned(recorder)
        recorder.saved(dataset_name, data)
        self._recorded.add(dataset_name)
        model, _ = split_name(dataset_name)
        unsaved = self._unsaved.get(model or "", set())
        unsaved.discard(dataset_name)
        if model and not unsaved:
            recorder.tree.end(model, "FINISHED")

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Records what is not recorded yet, and closes the children before their parent."""
        if (recorder := self._own_recorder()) is not None:
            self._record_missing(recorder)
            self._drop_thinned(recorder)
            recorder.finish()
        self._recorder = None

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: BaseException) -> None:
        """Closes the unfinished children as stopped or failed; they keep what was recorded."""
        if (recorder := self._own_recorder()) is not None:
            stopped = isinstance(error, KeyboardInterrupt)
            recorder.tree.end_all("KILLED" if stopped else "FAILED")
        self._recorder = None

    def _begin(self, asked: Pipeline, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Starts a run of `pipeline`, the stale nodes of the pipelines that were asked for."""
        self._catalog = catalog
        self._outputs = asked.all_outputs()
        self._made = pipeline.all_outputs() | made_before_tracking.get()
        self._unsaved = _by_model(pipeline.all_outputs())
        self._recorded: set[str] = set()
        self._parameters = _parameters(asked.nodes, catalog)

    def _own_recorder(self) -> RunRecorder | None:
        """The recorder; None in a worker process, which has its parent's."""
        return self._recorder if os.getpid() == self._process else None

    def _open(self, recorder: RunRecorder, model: str) -> None:
        with self._lock:
            if model not in recorder.tree.children:
                self._describe(recorder, model)

    def _describe(self, recorder: RunRecorder, model: str) -> None:
        """Records the model's parameters, and those of its datasets that are fresh and skipped.

        A killed run may have saved some of them without recording them.
        """
        recorder.describe_child(model, self._parameters)
        fresh = self._outputs - self._made
        self._record_saved(recorder, [name for name in fresh if split_name(name)[0] == model])

    def _record_saved(self, recorder: RunRecorder, names: Iterable[str]) -> None:
        """Records datasets that another process, or an earlier run, saved."""
        for name in sorted(names, key=_logs_first):
            if name in self._recorded or not self._catalog.exists(name):
                continue
            self._recorded.add(name)
            if _is_recorded(name):
                recorder.carried_over(name, self._catalog.load(name))

    def _drop_thinned(self, recorder: RunRecorder) -> None:
        for name in self._outputs:
            model, kind = split_name(name)
            path = output_path(self._catalog, name) if model and kind == "model" else None
            if model and path and is_thinned(path):
                recorder.thinned(model, current_digest(path))

    def _record_missing(self, recorder: RunRecorder) -> None:
        """Records models of earlier runs, and what worker processes made.

        A model that is in MLflow already, and of which nothing was made again, only gets its
        points on the parent's curve.
        """
        tree = recorder.tree
        unchanged = set(tree.newest()) - set(tree.children) - set(_by_model(self._made))
        for name in sorted(self._outputs - self._recorded, key=_logs_first):
            model, kind = split_name(name)
            if model is None:
                if tree.continued or name in self._made:
                    self._record_saved(recorder, [name])
            elif model not in unchanged:
                if _is_recorded(name) and self._catalog.exists(name):
                    self._open(recorder, model)
                    self._record_saved(recorder, [name])
            elif kind.endswith("_metrics") and self._catalog.exists(name):
                recorder.curve(name, self._catalog.load(name))


def _is_recorded(name: str) -> bool:
    model, kind = split_name(name)
    if model is None:
        return kind in _OF_ALL_MODELS
    kinds = ("model", "best", "train_log", "pairs", "judgements", "judged_responses", "data_docs")
    return kind in kinds or kind.endswith(("_metrics", "_validation"))


def _logs_first(name: str) -> tuple[bool, str]:
    """A sorting key: training logs come before the metrics that repeat their last values."""
    return not name.endswith(".train_log"), name


def _asked_pipelines(run_params: dict[str, Any]) -> Pipeline:
    """The pipelines that were asked for, including nodes that are fresh and skipped."""
    names = run_params.get("pipeline_names") or ["__default__"]
    return sum((pipelines[name] for name in names if name in pipelines), Pipeline([]))


def _by_model(outputs: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name in outputs:
        model, _ = split_name(name)
        if model is not None:
            found.setdefault(model, set()).add(name)
    return found


def _parameters(nodes: Iterable[Node], catalog: CatalogProtocol) -> dict[str, Any]:
    inputs = {name for node in nodes for name in node.inputs}
    names = sorted(name for name in inputs if name.startswith("params:"))
    values = {name.removeprefix("params:"): catalog.load(name) for name in names}
    if "judge_prompt" in inputs:
        values["judge_prompt"] = prompt_version(catalog.load("judge_prompt"))
    if "criteria_prompt" in inputs:  # its template and its criteria
        asked = catalog.get("criteria_prompt").fingerprint()
        values["criteria_prompt"] = prompt_version(json.dumps(asked))
    return values


def _run_name(run_params: dict[str, Any], models: Iterable[str]) -> str:
    chain = ("m0", "sft")
    made = sorted(models, key=lambda name: (name not in chain, len(name), name))
    asked = "+".join(run_params.get("pipeline_names") or ["kedro run"])
    return f"{asked}: {' '.join(name.upper() for name in made)}" if made else asked
