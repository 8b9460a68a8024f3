"""Kedro's events into MLflow; what is written stands in `srlm_kedro.tracking`."""

import logging
from collections.abc import Iterable
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.judge.prompt import prompt_version
from srlm_kedro.records import Checkpoint
from srlm_kedro.tracking.parent import ParentRunHooks, open_recorder
from srlm_kedro.tracking.recorder import RunRecorder, split_name

__all__ = ["ParentRunHooks", "TrackingHooks"]

_log = logging.getLogger(__name__)
_BASE_ENVIRONMENTS = (None, "base", "local")


class TrackingHooks:
    """Beside kedro-mlflow's parent run: one child a model, with all that tells it from others.

    Where there is no parent run (tracking is off, or a worker process), nothing is written.
    """

    def __init__(self) -> None:
        self._recorder: RunRecorder | None = None
        self._catalog: CatalogProtocol | None = None
        self._awaited: dict[str, set[str]] = {}
        self._whole = Pipeline([])
        self._parameters: dict[str, Any] = {}

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Describes the parent run that kedro-mlflow has just opened."""
        self._recorder = open_recorder(_registered_model(run_params.get("env")))
        if self._recorder is None:
            return
        if killed := self._recorder.tree.mark_killed():
            _log.info("MLflow: %d runs of processes that are gone are marked KILLED.", killed)
        self._catalog = catalog
        self._whole = _whole(run_params) + pipeline
        self._awaited = _by_model(pipeline.all_outputs())
        self._parameters = _parameters(self._whole.nodes, catalog)
        self._recorder.describe_parent(_run_name(run_params, self._awaited), self._parameters)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Opens the model's child with its first node."""
        for model in _by_model(node.outputs):
            self._open(model)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Records the dataset, and closes the model's child after its last one."""
        if self._recorder is None:
            return
        if isinstance(data, Checkpoint) and self._catalog is not None:
            data = self._catalog.load(dataset_name)  # the engine's scratch folder has moved
        self._recorder.saved(dataset_name, data)
        model, _ = split_name(dataset_name)
        awaited = self._awaited.get(model or "", set())
        awaited.discard(dataset_name)
        if model and not awaited:
            self._recorder.tree.end(model, "FINISHED")

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self, pipeline: Pipeline) -> None:
        """Adds what earlier runs made, and closes the children before their parent."""
        if self._recorder is not None:
            self._carry_over(pipeline)
            self._recorder.finish()
        self._recorder = None

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self) -> None:
        """Closes the unfinished children as failed; what they hold stays."""
        if self._recorder is not None:
            self._recorder.tree.end_all("FAILED")
        self._recorder = None

    def _open(self, model: str | None) -> None:
        recorder = self._recorder
        if recorder is None or model is None:
            return
        if model not in recorder.tree.children:
            recorder.describe_child(model, self._parameters)

    def _carry_over(self, pipeline: Pipeline) -> None:
        """What was fresh and skipped belongs to its model all the same.

        Models that are in MLflow already, and of which nothing was remade, only keep their place
        on the parent's curve.
        """
        recorder, catalog = self._recorder, self._catalog
        if recorder is None or catalog is None:
            return
        known = set(recorder.tree.newest()) - set(recorder.tree.children)
        for name in sorted(self._whole.all_outputs() - pipeline.all_outputs(), key=_logs_first):
            model, kind = split_name(name)
            if model is None or not _is_recorded(kind) or not catalog.exists(name):
                continue
            if model not in known:
                self._open(model)
                recorder.carried_over(name, catalog.load(name))
            elif kind.endswith("_metrics"):
                recorder.curve(name, catalog.load(name))


def _is_recorded(kind: str) -> bool:
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


def _registered_model(env: str | None) -> str:
    """Controls and other environments keep their models apart."""
    return "srlm_kedro" if env in _BASE_ENVIRONMENTS else f"srlm_kedro-{env}"
