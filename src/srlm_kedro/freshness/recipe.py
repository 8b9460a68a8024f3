"""What a node's outputs depend on: its code, its libraries and each of its inputs."""

import inspect
import re
from pathlib import Path
from typing import Any, get_type_hints

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from srlm_kedro.freshness.digests import json_digest
from srlm_kedro.freshness.manifest import current_digest, read_manifest
from srlm_kedro.freshness.provenance import engine_made_by, made_by
from srlm_kedro.params import Params, Reads

ENGINE_TYPE = "srlm_kedro.datasets.engine.EngineDataset"
"""The type of an engine's entry in the catalog."""


def recipe_of(node: Node, catalog: CatalogProtocol) -> dict[str, str]:
    """What a node's outputs depend on, as digests by name.

    Names are the inputs', `function`, and those of modules and libraries (see `provenance`).
    """
    engine = uses_engine(node, catalog) and not is_gate(node, catalog)
    code = made_by(node.func.__module__, engine)
    for name in node.inputs:
        if is_engine(catalog, name):
            code |= engine_made_by(catalog.get(name).spec)
        elif module := _interpreter(catalog, name):
            code |= made_by(module)
    made = re.match(r"m(\d+)\.", node.name)
    iteration, reads = int(made[1]) if made else None, _reads(node)
    inputs = {}
    for name in node.inputs:
        if name.startswith("params:"):
            value = catalog.load(name)
            if isinstance(value, Params):
                value = value.recipe(iteration, engine, reads.get(name))
            inputs[name] = json_digest(value, str)
        else:
            inputs[name] = _content(catalog, name)
    return {"function": node.func.__qualname__, **inputs, **code}


def output_path(catalog: CatalogProtocol, name: str) -> Path | None:
    """The file or folder behind a dataset, if it has one."""
    dataset = catalog.get(name)
    filepath = getattr(dataset, "_filepath", None)
    return None if filepath is None else Path(str(filepath))


def manifest_of(catalog: CatalogProtocol, name: str) -> dict[str, Any] | None:
    """The manifest of a dataset; None if it has none, or a damaged one."""
    path = output_path(catalog, name)
    return None if path is None else read_manifest(path)


def is_engine(catalog: CatalogProtocol, name: str) -> bool:
    """Whether a dataset is an engine; no engine is built to find out."""
    return catalog.get_type(name) == ENGINE_TYPE


def uses_engine(node: Node, catalog: CatalogProtocol) -> bool:
    """Whether a node samples or trains; all other nodes are cheap."""
    return any(is_engine(catalog, name) for name in node.inputs)


def is_gate(node: Node, catalog: CatalogProtocol) -> bool:
    """Whether a node only lets others run; its outputs are no part of any recipe."""
    return all(hasattr(catalog.get(name), "fingerprint") for name in node.outputs)


def interprets(catalog: CatalogProtocol, name: str) -> bool:
    """Whether the dataset's code decides which rows a file gives."""
    return bool(getattr(catalog.get(name), "INTERPRETS", False))


def _interpreter(catalog: CatalogProtocol, name: str) -> str | None:
    """The module whose code decides what a dataset makes of a file; None if none does.

    It is the dataset's own, or the one that it names.
    """
    dataset = catalog.get(name)
    if interprets(catalog, name):
        return type(dataset).__module__
    return getattr(dataset, "interpreter", None)


def _reads(node: Node) -> dict[str, Reads]:
    """Which fields of its parameter groups the node's function reads, by the input's name."""
    hints = get_type_hints(node.func, include_extras=True)
    found = {}
    for argument, name in zip(inspect.signature(node.func).parameters, node.inputs, strict=False):
        for mark in getattr(hints.get(argument), "__metadata__", ()):
            if isinstance(mark, Reads):
                found[name] = mark
    return found


def _content(catalog: CatalogProtocol, name: str) -> str:
    """The digest of an input: of its fingerprint, or of its file or folder."""
    dataset = catalog.get(name)
    if hasattr(dataset, "fingerprint"):
        return json_digest(dataset.fingerprint(), str)
    path = output_path(catalog, name)
    if path is None:
        raise TypeError(f"{name}: a dataset between stages needs a file or a fingerprint().")
    return current_digest(path)
