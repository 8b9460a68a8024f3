"""How a run starts: which models it makes, what it refuses, what is fresh already."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from srlm_kedro.datasets.engine import EngineDataset, free_engines
from srlm_kedro.errors import InputError, summary
from srlm_kedro.freshness import Plan, input_faults, make_plan, output_path
from srlm_kedro.pipelines import published
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import chain, compose, iteration, self_rewarding
from srlm_kedro.preflight import (
    RUN_PARAMETERS,
    data_faults,
    idle_faults,
    newest_model,
    parameter_faults,
)

_log = logging.getLogger(__name__)
_ALL = "__default__"
_NEXT = """Where to look next:
  the report     {report}
  the MLflow UI  make mlflow, then http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning
                 (choose the runs M1, M2, M3 and press Compare)
  the pipelines  make viz
"""
_FILTERS = ("tags", "from_nodes", "to_nodes", "from_inputs", "to_outputs")


class LoopSession(KedroSession):
    """A Kedro session that composes the loop from its parameters and runs what is not fresh."""

    def run(  # type: ignore[override]
        self,
        pipeline_name: str | None = None,
        pipeline_names: list[str] | None = None,
        node_names: Iterable[str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Runs the stale nodes of the chosen pipelines; see `KedroSession.run` for the options.

        Raises:
            InputError: Parameters, seed data or models that break a rule; no work was done.
        """
        names = list(pipeline_names or ([pipeline_name] if pipeline_name else [])) or None
        pipelines.set_requested(names)
        context = self.load_context()
        raw = raw_catalog(context)
        faults = compose_loop(context.config_loader["parameters"], raw, names or [_ALL])
        chosen = _select(names or [_ALL], node_names, options)
        faults += data_faults(chosen, raw) if chosen is not None else []
        if faults:
            raise InputError(summary("Refused before any work:", faults))
        catalog = context.catalog
        plan = make_plan(chosen, catalog)
        _announce(plan)
        result: dict[str, Any] = {}
        if plan.stale:
            _refuse_faulty_inputs(chosen, plan, catalog)
            _refuse_faulty_engines(chosen, plan, catalog)
        if plan.first:
            self._restore(chosen.filter(node_names=list(plan.first)))
            plan = make_plan(chosen, catalog)
            _announce(plan)
        if plan.stale:
            result = super().run(pipeline_names=names, node_names=list(plan.stale), **options)
        _show_summary(chosen, catalog)
        return result

    def _restore(self, lost: Pipeline) -> None:
        """Makes lost outputs again, untracked: MLflow was told of them when they were made."""
        catalog = self.load_context().catalog
        SequentialRunner().run(lost, catalog, self._hook_manager)
        free_engines(catalog, catalog)


def compose_loop(given: Mapping[str, Any], raw: CatalogProtocol, names: list[str]) -> list[str]:
    """Puts the pipelines that depend on parameters into the registry; gives what is wrong.

    Args:
        given: All parameters.
        raw: The catalog before parameters are checked.
        names: The pipelines that are asked for.
    """
    known = {"loop": LoopParams, **RUN_PARAMETERS}
    try:
        loop = LoopParams.model_validate(given.get("loop", {}))
    except ValidationError:
        return parameter_faults(given, pipelines, known)
    pipelines.update(compose(loop))
    # A stage that this loop leaves out keeps its parameters: they are known all the same.
    every = {**pipelines, "whole": self_rewarding(LoopParams())}
    faults = parameter_faults(given, every, known) + idle_faults(given, loop, names)
    newest = newest_model(raw)
    if newest:
        pipelines.update(published.create_pipelines(chain(newest)))
    if "iteration" in names:
        t = given.get("iteration", max(newest, 1) + 1)
        countable = type(t) is int and t > 0
        lacking = _lacking_predecessor(t, newest) if countable else []
        if lacking or not countable:
            del pipelines["iteration"]
            return faults + lacking
        pipelines["iteration"] = iteration(t, newest, loop)
        _log.info("Iteration %d makes M%d from M%d.", t, t, t - 1)
    return faults


def _lacking_predecessor(t: int, newest: int) -> list[str]:
    following = max(newest, 1) + 1
    if t <= following:
        return []
    have = f"the newest model is M{newest}" if newest else "there is no model yet"
    return [
        f"parameter `iteration`: M{t} is made from M{t - 1}, but {have}. Run "
        f"`kedro run --pipeline=iteration --params=iteration={following}` first"
    ]


def raw_catalog(context: KedroContext) -> CatalogProtocol:
    """The catalog before parameters are checked, so that all faults can be told at once."""
    context._pipelines_to_validate = []
    catalog = context.catalog
    context._pipelines_to_validate = None
    return catalog


def _select(
    names: list[str], node_names: Iterable[str] | None, options: Mapping[str, Any]
) -> Pipeline | None:
    """The nodes that the user asked for; None when a pipeline of that name was refused."""
    if any(name == "iteration" and name not in pipelines for name in names):
        return None
    whole = sum((pipelines[name] for name in names if name in pipelines), Pipeline([]))
    filters = {name: options.get(name) or None for name in _FILTERS}
    namespaces = options.get("namespaces") or None
    return whole.filter(node_names=node_names or None, node_namespaces=namespaces, **filters)


def _refuse_faulty_inputs(pipeline: Pipeline, plan: Plan, catalog: CatalogProtocol) -> None:
    faults = input_faults(pipeline.filter(node_names=list(plan.stale)), catalog)
    if faults:
        raise InputError(summary("Refused before any work:", faults))


def _refuse_faulty_engines(pipeline: Pipeline, plan: Plan, catalog: CatalogProtocol) -> None:
    """Builds the engines that will be asked, so that wrong options cost no work.

    Raises:
        InputError: All faults of all of them.
    """
    asked = {name for node in pipeline.nodes if node.name in plan.stale for name in node.inputs}
    faults = []
    for name in sorted(name for name in asked if isinstance(catalog.get(name), EngineDataset)):
        try:
            catalog.load(name)
        except DatasetError as error:
            faults.append(f"{name}: {error.__cause__ or error}")
    if faults:
        raise InputError(summary("Refused before any work:", faults))


def _announce(plan: Plan) -> None:
    if not plan.stale:
        _log.info("Nothing to do: all %d nodes are fresh.", len(plan.fresh))
        return
    _log.info("%d nodes to run, %d fresh and skipped.", len(plan.stale), len(plan.fresh))
    for node, reason in plan.stale.items():
        if not reason.endswith("is remade"):
            _log.info("  %s: %s", node, reason)


def _show_summary(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    if "estimate_summary" in pipeline.all_outputs():
        print(f"\n{catalog.load('estimate_summary')}")
    if "summary" in pipeline.all_outputs():
        print(f"\n{catalog.load('summary')}")
        print(_NEXT.format(report=output_path(catalog, "report")))
