"""The tables of two pipelines without nodes: `--pipeline=status` and `--pipeline=accept`.

`status` shows what a run would make and why. `accept` shows which outputs it marked as fresh
although other code or libraries made them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.errors import InputError
from srlm_kedro.freshness.plan import Plan
from srlm_kedro.freshness.recipe import manifest_of
from srlm_kedro.freshness.thinning import models_to_thin

STATUS = "status"
ACCEPT = "accept"
_STATES = ("fresh", "stale", "missing")
_ALL_MODELS = "of all models"
"""The heading of nodes that belong to no single model."""


def status_table(pipeline: Pipeline, catalog: CatalogProtocol, plan: Plan) -> str:
    """One line per node, grouped by model: its state, and why a run would make it.

    A node is `missing` if one of its outputs is not completely there. It is `stale` if all outputs
    are there but were made from other inputs than today's. The last line names the models whose
    weights a run would delete because of `keep_models`.
    """
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for node in pipeline.nodes:
        reason = plan.stale.get(node.name, "")
        row = (node.name, _state(node, catalog, plan), reason)
        groups.setdefault(node.name.rpartition(".")[0] or _ALL_MODELS, []).append(row)
    ordered = sorted(groups, key=lambda name: name == _ALL_MODELS)  # the shared nodes come last
    width = max((len(node.name) for node in pipeline.nodes), default=0)
    parts = [_block(name, groups[name], width) for name in ordered]
    deleted = models_to_thin(pipeline, catalog, plan)
    rows = [row for group in groups.values() for row in group]
    closing = _closing(rows, deleted, may_end_early=bool(plan.first))
    return "\n\n".join([*parts, closing + _cluster(catalog)])


def _cluster(catalog: CatalogProtocol) -> str:
    """A line with what the cluster has, or why it does not answer; empty on one machine."""
    if "machine" not in catalog or not catalog.get("machine").of_cluster:
        return ""
    try:
        found = catalog.load("machine")
    except DatasetError as error:
        return f"\nThe cluster: {_refusal(error)}"
    gpus = f"{found['gpus']:g} GPUs ({found['gpu'] or 'of no known kind'})"
    devices = gpus if found["gpus"] else "no GPUs"
    return f"\nThe cluster: {found['nodes']:g} nodes with {devices}."


def _refusal(error: BaseException) -> BaseException:
    """The refusal that Kedro has wrapped."""
    while not isinstance(error, InputError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _state(node: Node, catalog: CatalogProtocol, plan: Plan) -> str:
    if node.name not in plan.stale:
        return "fresh"
    whole = all(manifest_of(catalog, name) is not None for name in node.outputs)
    return "stale" if whole else "missing"


def _block(name: str, rows: list[tuple[str, str, str]], width: int) -> str:
    lines = [f"  {node:{width}}  {state:7}  {reason}".rstrip() for node, state, reason in rows]
    return "\n".join([name, *lines])


def _closing(rows: list[tuple[str, str, str]], deleted: Sequence[str], may_end_early: bool) -> str:
    counts = Counter(state for _, state, _ in rows)
    states = ", ".join(f"{counts[state]} {state}" for state in _STATES)
    due = len(rows) - counts["fresh"]
    if not due:
        makes = "A run makes nothing." if deleted else "A run has nothing to do."
    elif may_end_early:
        makes = (
            f"A run makes {due} at most: the cheap ones come first, and what was made from them is "
            "made again only if they come out differently."
        )
    else:
        makes = f"A run makes the {due} that are not fresh."
    names = ", ".join(name.removesuffix(".model").upper() for name in deleted)
    deletes = f"\nkeep_models: a run deletes the weights of {names}; their other files stay."
    return f"{len(rows)} nodes: {states}. {makes}{deletes if deleted else ''}"


def accepted_text(accepted: Mapping[str, Sequence[str]]) -> str:
    """What was accepted: one line per module or library, with the number of nodes."""
    if not accepted:
        return "Nothing to accept: no node is stale only because code or libraries changed."
    counts = Counter(change for changes in accepted.values() for change in changes)
    lines = [f"  {change}: {number} nodes" for change, number in counts.most_common()]
    heading = f"{len(accepted)} nodes count as made by today's code and libraries. Changed are:"
    return "\n".join([heading, *lines])
