"""What is fresh, what is stale and why: every output knows what it was made from."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.datasets.manifest import content_digest, read_manifest
from srlm_kedro.params import Params


@dataclass(frozen=True)
class Plan:
    """Which nodes of a pipeline have to run, and the reason for each."""

    stale: dict[str, str] = field(default_factory=dict)
    """Node name to reason, in the order of running."""
    fresh: tuple[str, ...] = ()


def make_plan(pipeline: Pipeline, catalog: CatalogProtocol) -> Plan:
    """Walks the pipeline in the order of running; what hangs on a stale node is stale too."""
    remade: dict[str, str] = {}
    stale: dict[str, str] = {}
    fresh: list[str] = []
    for node in pipeline.nodes:
        reason = _staleness(node, catalog, remade)
        if reason is None:
            fresh.append(node.name)
            continue
        stale[node.name] = reason
        remade.update(dict.fromkeys(node.outputs, node.name))
    return Plan(stale, tuple(fresh))


def _staleness(node: Node, catalog: CatalogProtocol, remade: Mapping[str, str]) -> str | None:
    """Why a node must run, or None if all that it makes is fresh.

    A gate is asked again when one before it is, so that nothing trains ahead of it.
    """
    is_gate = all(hasattr(catalog.get(name), "fingerprint") for name in node.outputs)
    for name in node.inputs:
        if name in remade and (is_gate or not hasattr(catalog.get(name), "fingerprint")):
            return f"{name} is remade"
    manifests = {name: _manifest(catalog, name) for name in node.outputs}
    if missing := [name for name, manifest in manifests.items() if manifest is None]:
        return f"{missing[0]} is missing"
    now = parts(node, catalog)
    for manifest in manifests.values():
        if manifest is not None and (changed := _differences(manifest["parts"], now)):
            return f"{changed[0]} changed"
    return None


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


def _manifest(catalog: CatalogProtocol, name: str) -> dict[str, Any] | None:
    path = output_path(catalog, name)
    return None if path is None else read_manifest(path)


def _input_digest(catalog: CatalogProtocol, name: str, iteration: int | None) -> str:
    if name.startswith("params:") or name == "parameters":
        value = catalog.load(name)
        return _digest(value.recipe(iteration) if isinstance(value, Params) else value)
    dataset = catalog.get(name)
    if hasattr(dataset, "fingerprint"):
        return _digest(dataset.fingerprint())
    path = output_path(catalog, name)
    if path is None:
        raise TypeError(f"{name}: a dataset between stages needs a file or a fingerprint().")
    manifest = read_manifest(path)
    return content_digest(path) if manifest is None else manifest["digest"]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    names = [*before, *(name for name in now if name not in before)]
    return [name for name in names if before.get(name, _NOTHING) != now.get(name, _NOTHING)]


_NOTHING = _digest({})
"""What gates say of themselves: one that comes or goes makes nothing stale."""
