"""The pipelines that depend on parameters: the loop, and the iteration that comes next."""

import logging
from collections.abc import Mapping
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import ValidationError

from srlm_kedro.display.commands import run_command
from srlm_kedro.freshness.recipe import manifest_of
from srlm_kedro.pipelines import published
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.readiness.params import ReadinessParams
from srlm_kedro.pipelines.self_rewarding import (
    chain,
    compose,
    iteration,
    measure,
)
from srlm_kedro.running.input_faults import making
from srlm_kedro.running.parameter_faults import parameter_faults, unused_faults

_log = logging.getLogger(__name__)


def compose_loop(given: Mapping[str, Any], raw: CatalogProtocol, names: list[str]) -> list[str]:
    """Puts the pipelines that depend on parameters into the registry; returns what is wrong.

    Args:
        given: All parameters.
        raw: The catalog before parameters are checked.
        names: The pipelines that were asked for.
    """
    try:
        loop = LoopParams.model_validate(given.get("loop", {}))
    except ValidationError:
        return parameter_faults(given, pipelines)
    tried = _tried(given)
    pipelines.update(compose(loop, tried))
    faults = parameter_faults(given, pipelines) + unused_faults(given, loop, names)
    newest = newest_model(raw)
    if newest:
        pipelines.update(published.create_pipelines(chain(newest)))
    if "readiness" in names and (absent := _absent_faults(tried, raw)):
        del pipelines["readiness"]
        faults += absent
    if "iteration" in names:
        t = given.get("iteration", _next_iteration(newest, loop, raw))
        is_valid = type(t) is int and t > 0
        too_late = _predecessor_faults(t, newest) if is_valid else []
        if too_late or not is_valid:
            del pipelines["iteration"]
            return faults + too_late
        pipelines["iteration"] = iteration(t, newest, loop)
        chosen = "the best of M1 to " if loop.when_worse == "best" and t > 2 else ""
        _log.info("Iteration %d makes M%d from %sM%d.", t, t, chosen, t - 1)
    return faults


def newest_model(catalog: CatalogProtocol) -> int:
    """The largest t for which M_1, ..., M_t are all on disk, each made from the one before it.

    0 if there is no M1. A model does not count if its predecessor was made again since, or if a
    kill broke off its training before everything was saved.
    """
    t = 0
    predecessors: dict[str, str] = {}
    while found := manifest_of(catalog, f"m{t + 1}.model"):
        if any(found["parts"].get(name, digest) != digest for name, digest in predecessors.items()):
            break
        if manifest_of(catalog, f"m{t + 1}.train_metrics") is None:
            break
        t += 1
        best = manifest_of(catalog, f"m{t}.best")
        predecessors = {f"m{t}.model": found["digest"]}
        predecessors |= {f"m{t}.best": best["digest"]} if best else {}
    return t


def raw_catalog(context: KedroContext) -> CatalogProtocol:
    """The catalog before parameters are checked, so that one message can hold all faults."""
    context._pipelines_to_validate = []
    catalog = context.catalog
    context._pipelines_to_validate = None
    return catalog


def _tried(given: Mapping[str, Any]) -> str:
    """The model that `readiness` tries; the default if the parameters have a fault."""
    try:
        return ReadinessParams.model_validate(given.get("readiness") or {}).model
    except ValidationError:  # refused with the other parameters
        return ReadinessParams().model


def _absent_faults(tried: str, raw: CatalogProtocol) -> list[str]:
    """The fault if the model that is to be tried is not on disk. M0 is given, or made."""
    if tried == "m0" or manifest_of(raw, f"{tried}.model"):
        return []
    have = ["m0", *(["sft"] if manifest_of(raw, "sft.model") else [])]
    have += [f"m{t}" for t in range(1, newest_model(raw) + 1)]
    some = (
        f"there are {', '.join(have)}. Try one of these"
        if len(have) > 1
        else ("there is only m0. Try that")
    )
    return [
        f"parameter `readiness.model`: {tried} is not there; {some}, or make {tried.upper()} first "
        f"({making(tried)})"
    ]


def _next_iteration(newest: int, loop: LoopParams, raw: CatalogProtocol) -> int:
    """The t of the next model: the newest again if a kill left it without its evaluation."""
    if newest < 2:
        return 2
    return newest if _is_unmeasured(measure(newest, loop), raw) else newest + 1


def _is_unmeasured(measured: Pipeline, raw: CatalogProtocol) -> bool:
    """Whether an output is missing, or a table of all models does not hold the newest."""
    for node in measured.nodes:
        of_all_models = "." not in node.name
        for manifest in (manifest_of(raw, name) for name in node.outputs):
            if manifest is None or (of_all_models and set(node.inputs) - set(manifest["parts"])):
                return True
    return False


def _predecessor_faults(t: int, newest: int) -> list[str]:
    following = max(newest, 1) + 1
    if t <= following:
        return []
    have = f"the newest model is M{newest}" if newest else "there is no model yet"
    return [
        f"parameter `iteration`: M{t} is made from M{t - 1}, but {have}. Make M{following} first "
        f"({run_command('iteration', {'iteration': str(following)})})"
    ]
