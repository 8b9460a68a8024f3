"""Kedro's events into MLflow; what is written stands in `srlm_kedro.tracking`."""

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
from srlm_kedro.freshness.plan import output_path
from srlm_kedro.judge.prompt import prompt_version
from srlm_kedro.records import Checkpoint
from srlm_kedro.tracking.command import made_before
from srlm_kedro.tracking.parent_run import ParentRunHooks, open_recorder
from srlm_kedro.tracking.recorder import RunRecorder, split_name
from srlm_kedro.tracking.registry import registered_model

__all__ = ["ParentRunHooks", "TrackingHooks"]

_log = logging.getLogger(__name__)
_OF_ALL_MODELS = ("report", "summary")


class TrackingHooks:
    """Beside kedro-mlflow's parent run: one child a model, with all that tells it from others.

    Where there is no parent run (tracking is off), nothing is written. Worker processes write
    nothing either: what they made is recorded at the end.
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
        """Describes the parent run that kedro-mlflow has just opened."""
        self._recorder = open_recorder(registered_model(run_params.get("env")), content_digest)
        self._process = os.getpid()
        if self._recorder is None:
            return
        tree = self._recorder.tree
        if killed := tree.mark_killed():
            _log.info("MLflow: %d runs that nobody writes any more are marked KILLED.", killed)
        self._begin(_whole(run_params) + pipeline, pipeline, catalog)
        name = _run_name(run_params, {*self._awaited, *tree.models})
        self._recorder.describe_parent(name, self._parameters)
        for model in tree.children:
            self._describe(self._recorder, model)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Opens the model's child with its first node."""
        if (recorder := self._writer()) is not None:
            for model in _by_model(node.outputs):
                self._open(recorder, model)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Records the dataset, and closes the model's child after its last one."""
        recorder = self._writer()
        if recorder is None:
            return
        if isinstance(data, Checkpoint):
            data = self._catalog.load(dataset_name)  # the engine's scratch folder has moved
            self._drop_thinned(recorder)
        recorder.saved(dataset_name, data)
        self._recorded.add(dataset_name)
        model, _ = split_name(dataset_name)
        awaited = self._awaited.get(model or "", set())
        awaited.discard(dataset_name)
        if model and not awaited:
            recorder.tree.end(model, "FINISHED")

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Adds what is not recorded yet, and closes the children before their parent."""
        if (recorder := self._writer()) is not None:
            self._carry_over(recorder)
            self._drop_thinned(recorder)
            recorder.finish()
        self._recorder = None

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: BaseException) -> None:
        """Closes the unfinished children, stopped or failed; what they hold stays."""
        if (recorder := self._writer()) is not None:
            stopped = isinstance(error, KeyboardInterrupt)
            recorder.tree.end_all("KILLED" if stopped else "FAILED")
        self._recorder = None

    def _begin(self, whole: Pipeline, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._catalog = catalog
        self._whole = whole
        self._made = pipeline.all_outputs() | made_before.get()
        self._awaited = _by_model(pipeline.all_outputs())
        self._recorded: set[str] = set()
        self._parameters = _parameters(whole.nodes, catalog)

    def _writer(self) -> RunRecorder | None:
        """The recorder, in the process that it belongs to."""
        return self._recorder if os.getpid() == self._process else None

    def _open(self, recorder: RunRecorder, model: str) -> None:
        with self._lock:
            if model not in recorder.tree.children:
                self._describe(recorder, model)

    def _describe(self, recorder: RunRecorder, model: str) -> None:
        """Parameters, and what was fresh and skipped: it belongs to its model all the same.

        A killed run may have left some of that without a word.
        """
        recorder.describe_child(model, self._parameters)
        fresh = self._whole.all_outputs() - self._made
        self._catch_up(recorder, [name for name in fresh if split_name(name)[0] == model])

    def _catch_up(self, recorder: RunRecorder, names: Iterable[str]) -> None:
        """Records datasets that were saved, but not before the eyes of this process."""
        for name in sorted(names, key=_logs_first):
            if name in self._recorded or not self._catalog.exists(name):
                continue
            self._recorded.add(name)
            if _is_recorded(name):
                recorder.carried_over(name, self._catalog.load(name))

    def _drop_thinned(self, recorder: RunRecorder) -> None:
        for name in self._whole.all_outputs():
            model, kind = split_name(name)
            path = output_path(self._catalog, name) if model and kind == "model" else None
            if model and path and is_thinned(path):
                recorder.thinned(model, current_digest(path))

    def _carry_over(self, recorder: RunRecorder) -> None:
        """Models that earlier runs made, and what worker processes made.

        Models that are in MLflow already, and of which nothing was remade, only keep their place
        on the parent's curve.
        """
        tree = recorder.tree
        settled = set(tree.newest()) - set(tree.children) - set(_by_model(self._made))
        for name in sorted(self._whole.all_outputs() - self._recorded, key=_logs_first):
            model, kind = split_name(name)
            if model is None:
                if tree.continued or name in self._made:
                    self._catch_up(recorder, [name])
            elif model not in settled:
                if _is_recorded(name) and self._catalog.exists(name):
                    self._open(recorder, model)
                    self._catch_up(recorder, [name])
            elif kind.endswith("_metrics") and self._catalog.exists(name):
                recorder.curve(name, self._catalog.load(name))


def _is_recorded(name: str) -> bool:
    model, kind = split_name(name)
    if model is None:
        return kind in _OF_ALL_MODELS
    kinds = ("model", "best", "train_log", "pairs", "judgements", "judged_responses", "data_docs")
    return kind in kinds or kind.endswith(("_metrics", "_validation"))


def _logs_first(name: str) -> tuple[bool, str]:
    """Training logs go before the last values that they end in."""
    return not name.endswith(".train_log"), name


def _whole(run_params: dict[str, Any]) -> Pipeline:
    """The pipelines of this run with the nodes that were fresh and are skipped."""
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
    return values


def _run_name(run_params: dict[str, Any], models: Iterable[str]) -> str:
    chain = ("m0", "sft")
    made = sorted(models, key=lambda name: (name not in chain, len(name), name))
    asked = "+".join(run_params.get("pipeline_names") or ["kedro run"])
    return f"{asked}: {' '.join(name.upper() for name in made)}" if made else asked
