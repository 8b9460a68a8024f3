"""The rows of a table together: pairs of one prompt as a ranking, and what is left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.datasets.rows.dialogues import UnfitError
from srlm_kedro.datasets.rows.fields import Fitted, Rules
from srlm_kedro.datasets.rows.preferences import (
    CONTRADICTING,
    REASONS,
    REPEATED,
    best_alone,
    common_ranking,
)
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError

_LONGEST = 300
"""Characters of what is told of passed-over columns."""


@dataclass(frozen=True)
class Useless:
    """A row that is sound, but of no use."""

    place: str
    reason: str


def together(found: Sequence[Fitted], rules: Rules) -> tuple[list[dict[str, Any]], list[Useless]]:
    """The rows of the record, in the order in which their prompts come, and those of no use.

    Pairs of one prompt become one ranking (or its best response). Pairs that contradict each other
    are of no use, and neither are those after the first where no ranking follows from them all.
    With `repeated prompt` among the reasons to drop, the first row of each prompt stays.
    """
    groups: dict[Any, list[Fitted]] = {}
    for number, row in enumerate(found):
        is_pair = row.form == "pair" and rules.kind in ("ranking", "example")
        groups.setdefault(_key(row) if is_pair else number, []).append(row)
    rows, useless, known = [], [], set()
    for group in groups.values():
        kept, reason = _united(group)
        useless += [Useless(row.place, reason) for row in group[len(kept) :]]
        if kept and REPEATED in rules.drop and _key(kept[0]) in known:
            useless += [Useless(row.place, REPEATED) for row in kept]
        elif kept:
            known.add(_key(kept[0]))
            rows.append(_row(kept, rules))
    return rows, useless


def refusals(source: str, useless: Sequence[Useless]) -> list[str]:
    """What is said of rows of no use that nobody allowed to be left out; nothing if there are none.

    Their number by reason, the first of each, and what to write into the catalog.
    """
    if not useless:
        return []
    reasons = _counted(useless)
    first = {one.reason: one.place for one in reversed(useless)}
    heading = (
        f"{source}: {len(useless)} rows are of no use. To leave them out, write "
        f"`drop: [{', '.join(reasons)}]` into the table's catalog entry."
    )
    lines = [
        f"  - {reason} {count}: {REASONS[reason]}; the first is {first[reason]}"
        for reason, count in reasons.items()
    ]
    return ["\n".join([heading, *lines])]


def counts(useless: Sequence[Useless], joined: int, left: Sequence[str]) -> str:
    """What the log is told of a table: rows dropped by reason, pairs joined, columns passed over.

    Empty where there is nothing to tell.
    """
    parts = [f"dropped: {_listed(_counted(useless))}"] if useless else []
    parts += [f"pairs joined to the first of their prompt: {joined}"] if joined else []
    parts += [f"columns passed over: {one_line(', '.join(left), _LONGEST)}"] if left else []
    return "; ".join(parts)


def refuse_reasons(drop: Sequence[str]) -> None:
    """Refuses a list of reasons to drop rows that holds something else.

    Raises:
        InputError: The first that is no reason, and all that are.
    """
    unknown = [drop] if isinstance(drop, str) else [name for name in drop if name not in REASONS]
    if unknown:
        raise InputError(
            f"Seed data: `drop` is a list of reasons; {unknown[0]!r} is none. The reasons: "
            f"{', '.join(REASONS)}."
        )


def _united(group: Sequence[Fitted]) -> tuple[list[Fitted], str]:
    """The rows of a group that go together, and why the rest does not."""
    if len(group) == 1:
        return list(group), ""
    try:
        common_ranking([_pair(row) for row in group])
    except UnfitError as error:
        return ([] if error.reason == CONTRADICTING else [group[0]]), error.reason
    return list(group), ""


def _row(group: Sequence[Fitted], rules: Rules) -> dict[str, Any]:
    """One row of the record; the id is the first one's."""
    first = group[0]
    if "responses" not in first.fields or first.form != "pair":
        return first.fields
    own = first.fields
    if len(group) > 1:
        own = own | {"responses": common_ranking([_pair(row) for row in group])}
    own = best_alone(own) if rules.is_best_of("pair") else own
    return rules.record.model_validate(own).model_dump()


def _pair(row: Fitted) -> tuple[str, str]:
    better, worse = row.fields["responses"]
    return better["text"], worse["text"]


def _key(row: Fitted) -> str:
    """The prompt without case and spacing: what may stand in a table once."""
    return " ".join(row.fields["prompt"].split()).lower()


def _counted(useless: Sequence[Useless]) -> dict[str, int]:
    found = Counter(one.reason for one in useless)
    return {reason: found[reason] for reason in REASONS if reason in found}


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())
