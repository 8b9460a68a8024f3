"""Which nodes of the pipelines the user asked for: by name, tag, namespace, input or output."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from srlm_kedro.running.composition import FILTERS

_SHOWN = 8


def select(
    names: list[str], node_names: Iterable[str] | None, options: Mapping[str, Any]
) -> tuple[Pipeline | None, list[str]]:
    """The nodes, and what of the choice is not there.

    Args:
        names: The pipelines.
        node_names: The nodes' names; None: all.
        options: Of the run, `FILTERS` and `namespaces` among them.

    Returns:
        None in place of the nodes where a pipeline is unknown or was refused, or the choice is.
    """
    if any(name not in pipelines for name in names):
        return None, []
    whole = sum((pipelines[name] for name in names), Pipeline([]))
    filters = {name: options.get(name) or None for name in FILTERS}
    filters["node_names"] = list(node_names or []) or None
    filters["node_namespaces"] = options.get("namespaces") or None
    if faults := _unknown(whole, filters):
        return None, faults
    try:
        return whole.filter(**filters), []
    except ValueError:
        asked = ", ".join(f"`{_OPTIONS[name]}`" for name in filters if filters[name])
        return None, [f"{asked}: no node of {_listed(names)} is left by all of them together"]


def version_faults(versions: Mapping[str, str] | None, catalog: CatalogProtocol) -> list[str]:
    """Datasets of `--load-versions` that are not there, one line each."""
    return [
        f"`--load-versions`: the catalog has no dataset `{name}`"
        for name in versions or ()
        if name not in catalog
    ]


def _unknown(whole: Pipeline, filters: Mapping[str, Any]) -> list[str]:
    """Names that nothing in the pipeline has, one line each."""
    known = _names(whole)
    return [
        f"`{_OPTIONS[option]}`: there is no {_KINDS[option]} `{name}`{_near(name, known[option])}"
        for option, asked in filters.items()
        for name in asked or ()
        if name not in known[option]
    ]


def _names(whole: Pipeline) -> dict[str, set[str]]:
    """What each option may name."""
    nodes = {node.name for node in whole.nodes}
    spaces = [node.namespace.split(".") for node in whole.nodes if node.namespace]
    return {
        "tags": {tag for node in whole.nodes for tag in node.tags},
        "node_names": nodes,
        "from_nodes": nodes,
        "to_nodes": nodes,
        "from_inputs": {name for node in whole.nodes for name in node.inputs},
        "to_outputs": whole.all_outputs(),
        "node_namespaces": {
            ".".join(parts[:depth]) for parts in spaces for depth in range(1, len(parts) + 1)
        },
    }


def _near(name: str, known: set[str]) -> str:
    if close := get_close_matches(name, sorted(known), n=1):
        return f"; did you mean `{close[0]}`?"
    if not known:
        return "; this run's pipelines have none"
    return f". `kedro run --pipeline=status` lists the nodes; some names: {_listed(sorted(known))}"


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = ", ..." if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more


_OPTIONS = {
    "tags": "--tags",
    "node_names": "--nodes",
    "from_nodes": "--from-nodes",
    "to_nodes": "--to-nodes",
    "from_inputs": "--from-inputs",
    "to_outputs": "--to-outputs",
    "node_namespaces": "--namespaces",
}
_KINDS = {
    "tags": "tag",
    "node_names": "node",
    "from_nodes": "node",
    "to_nodes": "node",
    "from_inputs": "input",
    "to_outputs": "output",
    "node_namespaces": "namespace",
}
