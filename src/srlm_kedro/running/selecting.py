"""Which nodes a run is about: by pipeline, name, tag, namespace, input or output."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline

from srlm_kedro.display.commands import run_command
from srlm_kedro.errors import InputError, summary
from srlm_kedro.running.composition import compose_loop, raw_catalog
from srlm_kedro.running.input_faults import data_faults
from srlm_kedro.running.parameter_faults import parameter_faults, path_faults
from srlm_kedro.tracking import run_owner

_DEFAULT = "__default__"
_FILTERS = ("tags", "from_nodes", "to_nodes", "from_inputs", "to_outputs")
"""Options of `KedroSession.run` that choose nodes, besides `node_names` and `namespaces`."""
_OPTIONS = (*_FILTERS, "namespaces", "load_versions")
"""Options that tell one command from another."""
_LISTED = 8
"""How many names a message lists."""


@dataclass(frozen=True)
class RunRequest:
    """What a run was asked for."""

    pipelines: list[str] | None
    """Names of pipelines; None: the default pipeline."""
    nodes: list[str]
    """Names of nodes; empty: all."""
    options: Mapping[str, Any]
    """The other options of `KedroSession.run`."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the loop, or all of an iteration, was asked for."""
        filtered = self.nodes or any(self.options.get(name) for name in (*_FILTERS, "namespaces"))
        names = self.pipelines or [_DEFAULT]
        return not filtered and bool({_DEFAULT, "iteration"}.intersection(names))

    def run_params(self, env: str | None) -> dict[str, Any]:
        """The request as Kedro's hooks get it, without names of nodes."""
        chosen = {name: self.options.get(name) for name in _OPTIONS}
        return chosen | {"env": env, "pipeline_names": self.pipelines, "node_names": None}

    def identity(self, context: KedroContext, folder: str) -> str:
        """A short name of the command; the same command again continues its killed run.

        Args:
            context: Holds the environment and the parameters.
            folder: The id of the data folder.
        """
        return run_owner.command_identity(
            folder=folder,
            env=context.env,
            parameters=context.config_loader["parameters"],
            pipelines=sorted(self.pipelines or []),
            nodes=self.nodes,
            **{name: self.options.get(name) for name in _OPTIONS},
        )


def choose_nodes(context: KedroContext, request: RunRequest, is_run: bool = True) -> Pipeline:
    """The nodes that were asked for, fresh or not, composed from the parameters.

    Args:
        context: Holds the parameters and the catalog.
        request: What was asked for.
        is_run: Whether nodes will run. If not, no given model is downloaded or converted.

    Raises:
        InputError: Everything that is wrong with parameters, seed data and models, at once.
    """
    given = context.config_loader["parameters"]
    if path_faults(given):
        raise InputError(summary("Refused before any work:", parameter_faults(given, pipelines)))
    try:
        raw = raw_catalog(context)
    except DatasetError as error:
        raise InputError(f"The catalog cannot be read: {error}") from error
    names = request.pipelines or [_DEFAULT]
    faults = compose_loop(given, raw, names)
    faults += _version_faults(request.options.get("load_versions"), raw)
    chosen, unknown = _select(names, request)
    faults += _unknown_pipelines(request.pipelines or [])
    if chosen is None:
        faults += unknown
    else:
        faults += data_faults(chosen, raw, given, pipelines, is_run and not faults)
    if faults or chosen is None:
        raise InputError(summary("Refused before any work:", faults))
    return chosen


def _select(names: list[str], request: RunRequest) -> tuple[Pipeline | None, list[str]]:
    """The nodes, and one line for each name in the filters that does not exist.

    Returns:
        None in place of the nodes if a pipeline is unknown or was refused, or a filter is wrong.
    """
    if any(name not in pipelines for name in names):
        return None, []
    whole = sum((pipelines[name] for name in names), Pipeline([]))
    filters = {name: request.options.get(name) or None for name in _FILTERS}
    filters["node_names"] = request.nodes or None
    filters["node_namespaces"] = request.options.get("namespaces") or None
    if faults := _unknown_names(whole, filters):
        return None, faults
    try:
        return whole.filter(**filters), []
    except ValueError:
        asked = ", ".join(f"`{_FLAGS[name]}`" for name in filters if filters[name])
        return None, [f"{asked}: no node of {_listed(names)} matches all of them together"]


def _version_faults(versions: Mapping[str, str] | None, catalog: CatalogProtocol) -> list[str]:
    """Datasets of `--load-versions` that do not exist, one line each."""
    return [
        f"`--load-versions`: the catalog has no dataset `{name}`"
        for name in versions or ()
        if name not in catalog
    ]


def _unknown_pipelines(names: list[str]) -> list[str]:
    """Names of pipelines that do not exist, one line each."""
    known = sorted({*pipelines, "iteration", "readiness"})  # these may be refused
    faults = []
    for name in names:
        close = get_close_matches(name, known, n=1)
        hint = f" did you mean `{close[0]}`?" if close else ""
        fault = f"pipeline `{name}` is unknown;{hint} there are {', '.join(known)}"
        faults += [] if name in known else [fault]
    return faults


def _unknown_names(whole: Pipeline, filters: Mapping[str, Any]) -> list[str]:
    """Names in the filters that nothing in the pipeline has, one line each."""
    known = _known_names(whole)
    return [
        f"`{_FLAGS[option]}`: there is no {_KINDS[option]} `{name}`{_hint(name, known[option])}"
        for option, asked in filters.items()
        for name in asked or ()
        if name not in known[option]
    ]


def _known_names(whole: Pipeline) -> dict[str, set[str]]:
    """What each filter may name."""
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


def _hint(name: str, known: set[str]) -> str:
    if close := get_close_matches(name, sorted(known), n=1):
        return f"; did you mean `{close[0]}`?"
    if not known:
        return "; this run's pipelines have none"
    return f". `{run_command('status')}` lists the nodes; some names: {_listed(sorted(known))}"


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = ", ..." if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


_FLAGS = {
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
