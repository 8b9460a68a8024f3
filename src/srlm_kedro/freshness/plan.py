"""What is fresh, what is stale and why: every output knows what it was made from."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.files import json_digest
from srlm_kedro.freshness.manifest import (
    change_notes,
    current_digest,
    is_thinned,
    manifest_path,
    output_fault,
    read_manifest,
)
from srlm_kedro.freshness.provenance import engine_made_by, is_provenance, made_by
from srlm_kedro.params import Params, Reads

ENGINE_TYPE = "srlm_kedro.datasets.engine.EngineDataset"
"""The type of an engine's entry in the catalog."""


@dataclass(frozen=True)
class Plan:
    """Which nodes of a pipeline have to run, and the reason for each."""

    stale: dict[str, str] = field(default_factory=dict)
    """Node name to reason, in the order of running."""
    fresh: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    """Of the stale nodes, those to run before a new plan is made: an engine's work hangs on them,
    and they are cheap, or their files alone are lost. Where the same bytes come out again, all
    that was made from them is fresh."""
    anew: frozenset[str] = frozenset()
    """Of these, the ones that are made by another recipe."""


def make_plan(pipeline: Pipeline, catalog: CatalogProtocol) -> Plan:
    """Walks the pipeline in the order of running; what hangs on a stale node is stale too.

    The bytes of every output are held against its manifest.
    """
    judged: dict[str, _Verdict] = {}
    remade: dict[str, _Verdict] = {}
    for node in pipeline.nodes:
        if verdict := _judge(node, catalog, remade):
            judged[node.name] = verdict
            remade.update(dict.fromkeys(node.outputs, verdict))
    recalled = _recall(pipeline, catalog, judged)
    names = [node.name for node in pipeline.nodes]
    tried = _ready(pipeline, judged, recalled | _worth_a_try(pipeline, catalog, judged))
    return Plan(
        {name: judged[name].reason for name in names if name in judged},
        tuple(name for name in names if name not in judged),
        tuple(name for name in names if name in tried),
        frozenset(name for name in tried if judged[name].kind == "cheap"),
    )


def accept(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, list[str]]:
    """Holds outputs to be made by today's code and libraries, where nothing else has changed.

    Returns:
        The changed modules and libraries, by the node whose outputs are fresh from now on.
    """
    accepted = {}
    for node in pipeline.nodes:
        if _fault(node, catalog):
            continue
        changed = _changed(node, catalog)
        if changed and all(map(is_provenance, changed)):
            now = parts(node, catalog)
            for path in filter(None, (output_path(catalog, name) for name in node.outputs)):
                change_notes(path, {"parts": now})
            accepted[node.name] = list(dict.fromkeys(changed))
    return accepted


def input_faults(pipeline: Pipeline, catalog: CatalogProtocol) -> list[str]:
    """What is wrong with outputs that the pipeline starts from and does not make itself.

    Seed data, which people edit, is no such output, though a pipeline may have written it.
    """
    faults = []
    for name in sorted(pipeline.inputs()):
        path = None if name.startswith("params:") else output_path(catalog, name)
        if path is None or not manifest_path(path).exists() or _interprets(catalog, name):
            continue
        if fault := "was thinned out" if is_thinned(path) else output_fault(path):
            faults.append(f"{name} {fault}: {path}; a plain `kedro run` makes it again")
    return faults


@dataclass(frozen=True)
class _Verdict:
    """Why a node has to run."""

    reason: str
    kind: Literal["changed", "cheap", "lost", "hoping"]
    """By another recipe, with an engine or without; by the same one, for its files are gone or
    damaged; or only if what is remade before it comes out otherwise."""


def _judge(node: Node, catalog: CatalogProtocol, remade: Mapping[str, _Verdict]) -> _Verdict | None:
    """The verdict on a node whose inputs were judged before; None if all that it makes is fresh.

    A gate is asked again when one before it is, so that nothing trains ahead of it.
    """
    is_gate = _is_gate(node, catalog)
    behind = [
        name
        for name in node.inputs
        if name in remade and (is_gate or not hasattr(catalog.get(name), "fingerprint"))
    ]
    kinds = {remade[name].kind for name in behind}
    said = f"{behind[0]} is remade" if behind else ""
    own: Literal["changed", "cheap"] = "changed" if uses_engine(node, catalog) else "cheap"
    if fault := _fault(node, catalog):
        return _Verdict(said or fault, "lost" if kinds <= {"lost"} else own)
    changed = _changed(node, catalog)
    if behind:
        hoping = "changed" not in kinds and set(changed) <= set(behind)
        return _Verdict(said, "hoping" if hoping else own)
    return _Verdict(f"{changed[0]} changed", own) if changed else None


def _is_gate(node: Node, catalog: CatalogProtocol) -> bool:
    return all(hasattr(catalog.get(name), "fingerprint") for name in node.outputs)


def _recall(pipeline: Pipeline, catalog: CatalogProtocol, judged: dict[str, _Verdict]) -> set[str]:
    """Adds the makers of what was thinned out and is needed after all; gives their names."""
    needed: set[str] = set()
    recalled = set()
    for node in reversed(pipeline.nodes):
        paths = {name: output_path(catalog, name) for name in needed.intersection(node.outputs)}
        back = [name for name, path in paths.items() if path is not None and is_thinned(path)]
        if back and node.name not in judged:
            judged[node.name] = _Verdict(f"{back[0]} was thinned out, and is needed", "lost")
            recalled.add(node.name)
        if node.name in judged:
            needed.update(node.inputs)
    return recalled


def _worth_a_try(
    pipeline: Pipeline, catalog: CatalogProtocol, judged: Mapping[str, _Verdict]
) -> set[str]:
    """Lost nodes on which hoping ones hang, and cheap ones on which the work of engines hangs."""
    asked: set[str] = set()
    asked_by_engines: set[str] = set()
    found = set()
    for node in reversed(pipeline.nodes):
        kind = judged[node.name].kind if node.name in judged else None
        for_engines = bool(asked_by_engines.intersection(node.outputs))
        if kind == "lost" and asked.intersection(node.outputs):
            found.add(node.name)
        if kind == "cheap" and for_engines:
            found.add(node.name)
        if kind == "hoping" or node.name in found:
            asked.update(node.inputs)
            if for_engines or uses_engine(node, catalog):
                asked_by_engines.update(node.inputs)
    return found


def _ready(pipeline: Pipeline, judged: Mapping[str, _Verdict], names: set[str]) -> set[str]:
    """Those of the nodes above which nothing is stale that is not among them.

    What is redrawn first decides what others are made of, and gates come before what they guard.
    """
    found: set[str] = set()
    awaited: set[str] = set()
    for node in pipeline.nodes:
        if node.name in names and not awaited.intersection(node.inputs):
            found.add(node.name)
        elif node.name in judged:
            awaited.update(node.outputs)
    return found


def _fault(node: Node, catalog: CatalogProtocol) -> str | None:
    """What is wrong with the files of a node's outputs."""
    for name in node.outputs:
        path = output_path(catalog, name)
        fault = "is kept nowhere" if path is None else output_fault(path)
        if fault and _interprets(catalog, name) and path is not None and path.exists():
            fault = "is not as this pipeline wrote it"
        if fault:
            return f"{name} {fault}"
    return None


def _changed(node: Node, catalog: CatalogProtocol) -> list[str]:
    """What is no more as it was when the node's outputs, which are whole, were made."""
    now = parts(node, catalog)
    manifests = [manifest_of(catalog, name) for name in node.outputs]
    return [name for m in manifests if m for name in _differences(m["parts"], now)]


def parts(node: Node, catalog: CatalogProtocol) -> dict[str, str]:
    """What a node's outputs depend on: its code and libraries, and each input, as digests."""
    engine = uses_engine(node, catalog) and not _is_gate(node, catalog)
    code = made_by(node.func.__module__, engine)
    for name in node.inputs:
        if is_engine(catalog, name):
            code |= engine_made_by(catalog.get(name).spec)
        elif _interprets(catalog, name):
            code |= made_by(type(catalog.get(name)).__module__)
    made = re.match(r"m(\d+)\.", node.name)
    iteration, reads = int(made[1]) if made else None, _reads(node)
    inputs = {}
    for name in node.inputs:
        if name.startswith("params:"):
            value = catalog.load(name)
            grouped = isinstance(value, Params)
            recipe = value.recipe(iteration, engine, reads.get(name)) if grouped else value
            inputs[name] = json_digest(recipe, str)
        else:
            inputs[name] = _content(catalog, name)
    return {"function": node.func.__qualname__, **inputs, **code}


def is_engine(catalog: CatalogProtocol, name: str) -> bool:
    """Whether a name of the catalog is an engine's; nothing is built to tell."""
    return catalog.get_type(name) == ENGINE_TYPE


def uses_engine(node: Node, catalog: CatalogProtocol) -> bool:
    """Whether a node draws or trains; all others are cheap."""
    return any(is_engine(catalog, name) for name in node.inputs)


def _interprets(catalog: CatalogProtocol, name: str) -> bool:
    """Whether what is read out of a file is decided by a dataset's code."""
    return bool(getattr(catalog.get(name), "INTERPRETS", False))


def output_path(catalog: CatalogProtocol, name: str) -> Path | None:
    """The file or folder behind a dataset, if it has one."""
    dataset = catalog.get(name)
    filepath = getattr(dataset, "_filepath", None)
    return None if filepath is None else Path(str(filepath))


def manifest_of(catalog: CatalogProtocol, name: str) -> dict[str, Any] | None:
    """The manifest of a dataset; None if it has none that can be believed."""
    path = output_path(catalog, name)
    return None if path is None else read_manifest(path)


def _reads(node: Node) -> dict[str, Reads]:
    """What the node's function says that it reads of its parameter groups, by the input's name."""
    hints = get_type_hints(node.func, include_extras=True)
    found = {}
    for argument, name in zip(inspect.signature(node.func).parameters, node.inputs, strict=False):
        for said in getattr(hints.get(argument), "__metadata__", ()):
            if isinstance(said, Reads):
                found[name] = said
    return found


def _content(catalog: CatalogProtocol, name: str) -> str:
    dataset = catalog.get(name)
    if hasattr(dataset, "fingerprint"):
        return json_digest(dataset.fingerprint(), str)
    path = output_path(catalog, name)
    if path is None:
        raise TypeError(f"{name}: a dataset between stages needs a file or a fingerprint().")
    return current_digest(path)


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = [*before, *(name for name in now if name not in before)]
    return [name for name in names if before.get(name, _NOTHING) != now.get(name, _NOTHING)]


_NOTHING = json_digest({})
"""What gates say of themselves: one that comes or goes makes nothing stale."""
