"""Which outputs are fresh, and which are stale and why; each knows what it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.digests import json_digest
from srlm_kedro.freshness.manifest import change_notes, is_thinned, manifest_path, output_fault
from srlm_kedro.freshness.provenance import is_provenance
from srlm_kedro.freshness.recipe import (
    interprets,
    is_gate,
    manifest_of,
    output_path,
    recipe_of,
    uses_engine,
)


@dataclass(frozen=True)
class Plan:
    """Which nodes of a pipeline have to run, and the reason for each."""

    stale: dict[str, str] = field(default_factory=dict)
    """Node name to reason, in the order of the pipeline."""
    fresh: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    """The stale nodes to run before a new plan is made. An engine's work depends on them, and they
    are cheap or have only lost their files. If they give the same bytes again, everything that was
    made from those bytes is fresh."""
    first_changed: frozenset[str] = frozenset()
    """The nodes of `first` whose recipe has changed."""


def make_plan(pipeline: Pipeline, catalog: CatalogProtocol) -> Plan:
    """Walks the pipeline in its order; what depends on a stale node is stale too.

    It compares the bytes of every output with the output's manifest.
    """
    stale: dict[str, _Stale] = {}
    remade: dict[str, _Stale] = {}
    for node in pipeline.nodes:
        if found := _staleness(node, catalog, remade):
            stale[node.name] = found
            remade.update(dict.fromkeys(node.outputs, found))
    restored = _restore_thinned(pipeline, catalog, stale)
    names = [node.name for node in pipeline.nodes]
    candidates = restored | _can_keep_others_fresh(pipeline, catalog, stale)
    first = _with_fresh_inputs(pipeline, stale, candidates)
    return Plan(
        {name: stale[name].reason for name in names if name in stale},
        tuple(name for name in names if name not in stale),
        tuple(name for name in names if name in first),
        frozenset(name for name in first if stale[name].kind == "cheap"),
    )


def accept(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, list[str]]:
    """Marks outputs as made by today's code and libraries where nothing else has changed.

    Returns:
        The changed modules and libraries, by the node whose outputs are fresh from now on.
    """
    accepted = {}
    for node in pipeline.nodes:
        if _fault(node, catalog):
            continue
        changed = _changed(node, catalog)
        if changed and all(map(is_provenance, changed)):
            now = recipe_of(node, catalog)
            for path in filter(None, (output_path(catalog, name) for name in node.outputs)):
                change_notes(path, {"parts": now})
            accepted[node.name] = list(dict.fromkeys(changed))
    return accepted


def input_faults(pipeline: Pipeline, catalog: CatalogProtocol, command: str) -> list[str]:
    """What is wrong with outputs that the pipeline starts from and does not make itself.

    Seed data is no such output even if a pipeline wrote it, because people edit it.

    Args:
        pipeline: The nodes that will run.
        catalog: Holds the outputs.
        command: What makes them again.
    """
    faults = []
    for name in sorted(pipeline.inputs()):
        path = None if name.startswith("params:") else output_path(catalog, name)
        if path is None or not manifest_path(path).exists() or interprets(catalog, name):
            continue
        if fault := "was thinned out" if is_thinned(path) else output_fault(path):
            faults.append(f"{name} {fault}: {path}; a plain `{command}` makes it again")
    return faults


@dataclass(frozen=True)
class _Stale:
    """Why a node has to run."""

    reason: str
    kind: Literal["engine", "cheap", "lost", "conditional"]
    """`engine` or `cheap`: the recipe changed, and an engine does the work or none does.
    `lost`: the recipe is the same, and files are gone or damaged.
    `conditional`: the node runs only if a remade input turns out different."""


def _staleness(node: Node, catalog: CatalogProtocol, remade: Mapping[str, _Stale]) -> _Stale | None:
    """Why a node has to run, if it has to; None if all its outputs are fresh.

    A gate runs again when a gate before it does, so that nothing trains before both have passed.

    Args:
        node: The node; those before it in the pipeline have been looked at.
        catalog: Of the run.
        remade: The datasets that stale nodes before it remake.
    """
    gate = is_gate(node, catalog)
    inputs = [
        name
        for name in node.inputs
        if name in remade and (gate or not hasattr(catalog.get(name), "fingerprint"))
    ]
    kinds = {remade[name].kind for name in inputs}
    reason = f"{inputs[0]} is remade" if inputs else ""
    kind: Literal["engine", "cheap"] = "engine" if uses_engine(node, catalog) else "cheap"
    if fault := _fault(node, catalog):
        whole = "; ".join(filter(None, [fault, reason]))
        return _Stale(whole, "lost" if kinds <= {"lost"} else kind)
    changed = _changed(node, catalog)
    if inputs:
        conditional = "engine" not in kinds and set(changed) <= set(inputs)
        return _Stale(reason, "conditional" if conditional else kind)
    return _Stale(f"{changed[0]} changed", kind) if changed else None


def _restore_thinned(
    pipeline: Pipeline, catalog: CatalogProtocol, stale: dict[str, _Stale]
) -> set[str]:
    """Adds to `stale` the nodes whose thinned outputs a stale node reads; returns their names."""
    needed: set[str] = set()
    restored = set()
    for node in reversed(pipeline.nodes):
        paths = {name: output_path(catalog, name) for name in needed.intersection(node.outputs)}
        thinned = [name for name, path in paths.items() if path is not None and is_thinned(path)]
        if thinned and node.name not in stale:
            stale[node.name] = _Stale(f"{thinned[0]} was thinned out, and is needed", "lost")
            restored.add(node.name)
        if node.name in stale:
            needed.update(node.inputs)
    return restored


def _can_keep_others_fresh(
    pipeline: Pipeline, catalog: CatalogProtocol, stale: Mapping[str, _Stale]
) -> set[str]:
    """The nodes that can spare later ones their work by giving the same bytes again.

    These are lost nodes on which conditional ones depend, and cheap nodes on which the conditional
    work of engines depends.
    """
    needed: set[str] = set()
    needed_by_engines: set[str] = set()
    found = set()
    for node in reversed(pipeline.nodes):
        kind = stale[node.name].kind if node.name in stale else None
        for_engines = bool(needed_by_engines.intersection(node.outputs))
        if kind == "lost" and needed.intersection(node.outputs):
            found.add(node.name)
        if kind == "cheap" and for_engines:
            found.add(node.name)
        if kind == "conditional" or node.name in found:
            needed.update(node.inputs)
            if for_engines or uses_engine(node, catalog):
                needed_by_engines.update(node.inputs)
    return found


def _with_fresh_inputs(
    pipeline: Pipeline, stale: Mapping[str, _Stale], candidates: set[str]
) -> set[str]:
    """Candidates with no stale node before them except other candidates.

    What is remade first decides what others are made of, and gates run before what they guard.
    """
    found: set[str] = set()
    awaited: set[str] = set()
    for node in pipeline.nodes:
        if node.name in candidates and not awaited.intersection(node.inputs):
            found.add(node.name)
        elif node.name in stale:
            awaited.update(node.outputs)
    return found


def _fault(node: Node, catalog: CatalogProtocol) -> str | None:
    """The first thing that is wrong with the files of a node's outputs; None if nothing is."""
    for name in node.outputs:
        path = output_path(catalog, name)
        fault = "is kept nowhere" if path is None else output_fault(path)
        if fault and interprets(catalog, name) and path is not None and path.exists():
            fault = "is not as this pipeline wrote it"
        if fault:
            return f"{name} {fault}"
    return None


def _changed(node: Node, catalog: CatalogProtocol) -> list[str]:
    """What has changed since the node's outputs were made; all of them are whole."""
    now = recipe_of(node, catalog)
    manifests = [manifest_of(catalog, name) for name in node.outputs]
    return [name for m in manifests if m for name in _differences(m["parts"], now)]


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = [*before, *(name for name in now if name not in before)]
    return [name for name in names if before.get(name, _OF_A_GATE) != now.get(name, _OF_A_GATE)]


_OF_A_GATE = json_digest({})
"""The digest of a gate. A gate that is added or removed makes nothing stale."""
