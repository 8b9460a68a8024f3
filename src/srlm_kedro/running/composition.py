"""Which nodes a run is of: pipelines composed from its parameters, and what is wrong with them."""

import logging
from collections.abc import Mapping
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import ValidationError

from srlm_kedro.freshness.plan import manifest_of
from srlm_kedro.pipelines import published
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import (
    chain,
    compose,
    iteration,
    measure,
)
from srlm_kedro.running.parameter_faults import idle_faults, newest_model, parameter_faults

_log = logging.getLogger(__name__)
FILTERS = ("tags", "from_nodes", "to_nodes", "from_inputs", "to_outputs")
"""Options of a run that choose nodes, besides their names and namespaces."""


def compose_loop(given: Mapping[str, Any], raw: CatalogProtocol, names: list[str]) -> list[str]:
    """Puts the pipelines that depend on parameters into the registry; gives what is wrong.

    Args:
        given: All parameters.
        raw: The catalog before parameters are checked.
        names: The pipelines that are asked for.
    """
    try:
        loop = LoopParams.model_validate(given.get("loop", {}))
    except ValidationError:
        return parameter_faults(given, pipelines)
    pipelines.update(compose(loop))
    faults = parameter_faults(given, pipelines) + idle_faults(given, loop, names)
    newest = newest_model(raw)
    if newest:
        pipelines.update(published.create_pipelines(chain(newest)))
    if "iteration" in names:
        t = given.get("iteration", _following(newest, loop, raw))
        countable = type(t) is int and t > 0
        lacking = _lacking_predecessor(t, newest) if countable else []
        if lacking or not countable:
            del pipelines["iteration"]
            return faults + lacking
        pipelines["iteration"] = iteration(t, newest, loop)
        chosen = "the best of M1 to " if loop.when_worse == "best" and t > 2 else ""
        _log.info("Iteration %d makes M%d from %sM%d.", t, t, chosen, t - 1)
    return faults


def _following(newest: int, loop: LoopParams, raw: CatalogProtocol) -> int:
    """The model that comes next: the newest itself, if a kill left it without its evaluation."""
    if newest < 2:
        return 2
    return newest if _is_cut_short(measure(newest, loop), raw) else newest + 1


def _is_cut_short(measured: Pipeline, raw: CatalogProtocol) -> bool:
    """Whether something was not made yet, or a table of all models without the newest."""
    for node in measured.nodes:
        shared = "." not in node.name
        for manifest in (manifest_of(raw, name) for name in node.outputs):
            if manifest is None or (shared and set(node.inputs) - set(manifest["parts"])):
                return True
    return False


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
