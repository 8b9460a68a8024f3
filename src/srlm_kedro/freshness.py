"""What is fresh, what is stale and why: every output knows what it was made from."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.disk import json_digest
from srlm_kedro.manifest import (
    is_thinned,
    known_digest,
    manifest_path,
    output_fault,
    read_manifest,
)
from srlm_kedro.params import Params


@dataclass(frozen=True)
class Plan:
    """Which nodes of a pipeline have to run, and the reason for each."""

    stale: dict[str, str] = field(default_factory=dict)
    """Node name to reason, in the order of running."""
    fresh: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    """Of the stale nodes, those to run before a new plan is made: their recipe stands, their files
    do not. Where the same bytes come out again, all that was made from them is fresh."""


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
    return Plan(
        {name: judged[name].reason for name in names if name in judged},
        tuple(name for name in names if name not in judged),
        tuple(name for name in names if name in recalled | _worth_a_try(pipeline, judged)),
    )


def input_faults(pipeline: Pipeline, catalog: CatalogProtocol) -> list[str]:
    """What is wrong with outputs that the pipeline starts from and does not make itself."""
    faults = []
    for name in sorted(pipeline.inputs()):
        path = None if name.startswith("params:") else output_path(catalog, name)
        if path is None or not manifest_path(path).exists():
            continue
        if fault := "was thinned out" if is_thinned(path) else output_fault(path):
            faults.append(f"{name} {fault}: {path}; a plain `kedro run` makes it again")
    return faults


@dataclass(frozen=True)
class _Verdict:
    """Why a node has to run."""

    reason: str
    kind: Literal["changed", "lost", "hoping"]
    """By another recipe; by the same one, for its files are gone or damaged; or only if what was
    lost before it comes out otherwise."""


def _judge(node: Node, catalog: CatalogProtocol, remade: Mapping[str, _Verdict]) -> _Verdict | None:
    """The verdict on a node whose inputs were judged before; None if all that it makes is fresh.

    A gate is asked again when one before it is, so that nothing trains ahead of it.
    """
    is_gate = all(hasattr(catalog.get(name), "fingerprint") for name in node.outputs)
    behind = [
        name
        for name in node.inputs
        if name in remade and (is_gate or not hasattr(catalog.get(name), "fingerprint"))
    ]
    kinds = {remade[name].kind for name in behind}
    said = f"{behind[0]} is remade" if behind else ""
    if fault := _fault(node, catalog):
        return _Verdict(said or fault, "lost" if kinds <= {"lost"} else "changed")
    changed = _changed(node, catalog)
    if behind:
        hoping = kinds <= {"lost", "hoping"} and set(changed) <= set(behind)
        return _Verdict(said, "hoping" if hoping else "changed")
    return _Verdict(f"{changed[0]} changed", "changed") if changed else None


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


def _worth_a_try(pipeline: Pipeline, judged: Mapping[str, _Verdict]) -> set[str]:
    """Lost nodes on which hoping ones hang."""
    asked: set[str] = set()
    found = set()
    for node in reversed(pipeline.nodes):
        kind = judged[node.name].kind if node.name in judged else None
        if kind == "lost" and asked.intersection(node.outputs):
            found.add(node.name)
        if kind == "hoping" or node.name in found:
            asked.update(node.inputs)
    return found


def _fault(node: Node, catalog: CatalogProtocol) -> str | None:
    """What is wrong with the files of a node's outputs."""
    for name in node.outputs:
        path = output_path(catalog, name)
        fault = "is kept nowhere" if path is None else output_fault(path)
        if fault:
            return f"{name} {fault}"
    return None


def _changed(node: Node, catalog: CatalogProtocol) -> list[str]:
    """What is no more as it was when the node's outputs, which are whole, were made."""
    now = parts(node, catalog)
    manifests = [manifest_of(catalog, name) for name in node.outputs]
    return [name for m in manifests if m for name in _differences(m["parts"], now)]


def parts(node: Node, catalog: CatalogProtocol) -> dict[str, str]:
    """What a node's outputs depend on: the stage's version and each input, as digests."""
    version = getattr(sys.modules[node.func.__module__], "VERSION", None)
    if version is None:
        raise TypeError(f"{node.func.__module__} needs a VERSION: {node.name} keeps its outputs.")
    made = re.match(r"m(\d+)\.", node.name)
    iteration = int(made[1]) if made else None
    inputs = {name: _input_digest(catalog, name, iteration) for name in node.inputs}
    return {"version": f"{node.func.__qualname__} {version}", **inputs}


def output_path(catalog: CatalogProtocol, name: str) -> Path | None:
    """The file or folder behind a dataset, if it has one."""
    dataset = catalog.get(name)
    filepath = getattr(dataset, "_filepath", None)
    return None if filepath is None else Path(str(filepath))


def manifest_of(catalog: CatalogProtocol, name: str) -> dict[str, Any] | None:
    """The manifest of a dataset; None if it has none that can be believed."""
    path = output_path(catalog, name)
    return None if path is None else read_manifest(path)


def _input_digest(catalog: CatalogProtocol, name: str, iteration: int | None) -> str:
    if name.startswith("params:") or name == "parameters":
        value = catalog.load(name)
        return json_digest(value.recipe(iteration) if isinstance(value, Params) else value, str)
    dataset = catalog.get(name)
    if hasattr(dataset, "fingerprint"):
        return json_digest(dataset.fingerprint(), str)
    path = output_path(catalog, name)
    if path is None:
        raise TypeError(f"{name}: a dataset between stages needs a file or a fingerprint().")
    return known_digest(path)


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = [*before, *(name for name in now if name not in before)]
    return [name for name in names if before.get(name, _NOTHING) != now.get(name, _NOTHING)]


_NOTHING = json_digest({})
"""What gates say of themselves: one that comes or goes makes nothing stale."""
