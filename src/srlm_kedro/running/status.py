"""What a run would make and why, as a table: `kedro run --pipeline=status`.

And what was made by other code or libraries, and stands all the same: `--pipeline=accept`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.plan import Plan, manifest_of
from srlm_kedro.freshness.thinning import foreseen

STATUS = "status"
ACCEPT = "accept"
"""The names under which they are asked for."""
_STATES = ("fresh", "stale", "missing")
_SHARED = "of all models"


def status_table(pipeline: Pipeline, catalog: CatalogProtocol, plan: Plan) -> str:
    """One line a node, by model: its state, and the reason why a run would make it.

    The last says which models lose their weights by `keep_models`, where a run would delete some.

    A node is `missing` when one of its outputs is not there as a whole, and `stale` when all are,
    made from something else than today's inputs.
    """
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for node in pipeline.nodes:
        reason = plan.stale.get(node.name, "")
        row = (node.name, _state(node, catalog, plan), reason)
        groups.setdefault(_group(node.name), []).append(row)
    # What is made of no one model comes first and last: it closes the table.
    groups = {name: groups[name] for name in sorted(groups, key=lambda name: name == _SHARED)}
    width = max((len(node.name) for node in pipeline.nodes), default=0)
    parts = [_block(name, rows, width) for name, rows in groups.items()]
    gone = foreseen(pipeline, catalog, plan)
    closing = _closing([row for rows in groups.values() for row in rows], gone, bool(plan.first))
    return "\n\n".join([*parts, closing])


def _group(node: str) -> str:
    return node.rpartition(".")[0] or _SHARED


def _state(node: Node, catalog: CatalogProtocol, plan: Plan) -> str:
    if node.name not in plan.stale:
        return "fresh"
    whole = all(manifest_of(catalog, name) is not None for name in node.outputs)
    return "stale" if whole else "missing"


def _block(name: str, rows: list[tuple[str, str, str]], width: int) -> str:
    lines = [f"  {node:{width}}  {state:7}  {reason}".rstrip() for node, state, reason in rows]
    return "\n".join([name, *lines])


def _closing(rows: list[tuple[str, str, str]], gone: Sequence[str], hoping: bool) -> str:
    counts = Counter(state for _, state, _ in rows)
    told = ", ".join(f"{counts[state]} {state}" for state in _STATES)
    due = len(rows) - counts["fresh"]
    nothing = "A run makes nothing." if gone else "A run has nothing to do."
    at_most = (
        f"A run makes {due} at most: the cheap ones come first, and what was made from them is "
        "made anew only if they come out otherwise."
    )
    makes = (
        (at_most if hoping else f"A run makes the {due} that are not fresh.") if due else nothing
    )
    names = ", ".join(name.removesuffix(".model").upper() for name in gone)
    deletes = f"\nkeep_models: a run deletes the weights of {names}; all else of theirs stays."
    return f"{len(rows)} nodes: {told}. {makes}{deletes if gone else ''}"


def accepted_text(accepted: Mapping[str, Sequence[str]]) -> str:
    """What was accepted, a line for each module or library, with the number of nodes."""
    if not accepted:
        return "Nothing to accept: no node differs in code or libraries alone."
    counts = Counter(change for changes in accepted.values() for change in changes)
    lines = [f"  {change}: {number} nodes" for change, number in counts.most_common()]
    heading = f"{len(accepted)} nodes count as made by today's code and libraries, which changed:"
    return "\n".join([heading, *lines])
