"""Combines the rows of a table: pairs of one prompt become a ranking, unusable rows are counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.datasets.rows.dialogues import UnusableRowError
from srlm_kedro.datasets.rows.fields import ReadRow, RowReader
from srlm_kedro.datasets.rows.preferences import (
    CONTRADICTING,
    REASONS,
    REPEATED,
    common_ranking,
    with_best_response,
)
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError

_LONGEST = 300
"""Characters of a list of columns in the log."""


@dataclass(frozen=True)
class UnusableRow:
    """A row that is sound, but of no use."""

    place: str
    reason: str


def combine_rows(
    read: Sequence[ReadRow], reader: RowReader
) -> tuple[list[dict[str, Any]], list[UnusableRow]]:
    """The rows of the record in the order in which their prompts come, and the unusable rows.

    Pairs of one prompt become one ranking, or its best response. Pairs that contradict each other
    are unusable. If pairs of one prompt determine no ranking, all but the first are unusable. With
    `repeated prompt` among the reasons to drop, only the first row of each prompt stays.
    """
    groups: dict[Any, list[ReadRow]] = {}
    for number, row in enumerate(read):
        is_pair = row.form == "pair" and reader.kind in ("ranking", "example")
        groups.setdefault(_prompt_key(row) if is_pair else number, []).append(row)
    rows, unusable, known = [], [], set()
    for group in groups.values():
        kept, reason = _usable(group)
        unusable += [UnusableRow(row.place, reason) for row in group[len(kept) :]]
        if kept and REPEATED in reader.drop and _prompt_key(kept[0]) in known:
            unusable += [UnusableRow(row.place, REPEATED) for row in kept]
        elif kept:
            known.add(_prompt_key(kept[0]))
            rows.append(_combined(kept, reader))
    return rows, unusable


def unusable_rows_fault(source: str, unusable: Sequence[UnusableRow]) -> list[str]:
    """The refusal of unusable rows that the catalog entry does not allow to drop; or nothing.

    It has their number by reason, the first row of each reason, and what to write into the entry.
    """
    if not unusable:
        return []
    reasons = _counted(unusable)
    first = {row.reason: row.place for row in reversed(unusable)}
    heading = (
        f"{source}: {len(unusable)} rows are of no use. To leave them out, write "
        f"`drop: [{', '.join(reasons)}]` into the table's catalog entry."
    )
    lines = [
        f"  - {reason} {count}: {REASONS[reason]}; the first is {first[reason]}"
        for reason, count in reasons.items()
    ]
    return ["\n".join([heading, *lines])]


def log_summary(unusable: Sequence[UnusableRow], joined: int, unread: Sequence[str]) -> str:
    """What the log says of a table; empty if there is nothing to say.

    Args:
        unusable: Rows that were dropped.
        joined: How many pairs were joined to the first pair of their prompt.
        unread: Columns that were not read.
    """
    dropped = ", ".join(f"{reason} {count}" for reason, count in _counted(unusable).items())
    parts = [f"dropped: {dropped}"] if unusable else []
    parts += [f"pairs joined to the first of their prompt: {joined}"] if joined else []
    parts += [f"columns passed over: {one_line(', '.join(unread), _LONGEST)}"] if unread else []
    return "; ".join(parts)


def refuse_reasons(drop: Sequence[str]) -> None:
    """Refuses a list of reasons to drop rows that has another word.

    Raises:
        InputError: The message names the first such word and all reasons.
    """
    unknown = [drop] if isinstance(drop, str) else [name for name in drop if name not in REASONS]
    if unknown:
        raise InputError(
            f"Seed data: `drop` is a list of reasons; {unknown[0]!r} is none. The reasons: "
            f"{', '.join(REASONS)}."
        )


def _usable(group: Sequence[ReadRow]) -> tuple[list[ReadRow], str]:
    """The rows of a group that can be combined, and why the others cannot."""
    if len(group) == 1:
        return list(group), ""
    try:
        common_ranking([_pair(row) for row in group])
    except UnusableRowError as error:
        return ([] if error.reason == CONTRADICTING else [group[0]]), error.reason
    return list(group), ""


def _combined(group: Sequence[ReadRow], reader: RowReader) -> dict[str, Any]:
    """One row of the record, with the id of the first row."""
    first = group[0]
    if "responses" not in first.fields or first.form != "pair":
        return first.fields
    fields = first.fields
    if len(group) > 1:
        fields = fields | {"responses": common_ranking([_pair(row) for row in group])}
    fields = with_best_response(fields) if reader.takes_best("pair") else fields
    return reader.record.model_validate(fields).model_dump()


def _pair(row: ReadRow) -> tuple[str, str]:
    better, worse = row.fields["responses"]
    return better["text"], worse["text"]


def _prompt_key(row: ReadRow) -> str:
    """The prompt in lower case with single spaces, by which two rows have the same prompt."""
    return " ".join(row.fields["prompt"].split()).lower()


def _counted(unusable: Sequence[UnusableRow]) -> dict[str, int]:
    found = Counter(row.reason for row in unusable)
    return {reason: found[reason] for reason in REASONS if reason in found}
