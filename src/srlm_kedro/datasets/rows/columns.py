"""Which columns of a file the fields of a record come from, and which would be lost."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.datasets.rows.dialogues import is_blank
from srlm_kedro.datasets.rows.files import Table
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError

Columns = Mapping[str, str | Sequence[str]]
"""Field of the record to column of the file, or to several that are joined by a blank line."""

_BEFORE_PROMPT = ("system", "system_prompt", "history")
_PARTS_OF_PROMPT = (*_BEFORE_PROMPT, "input", "context")
"""Columns whose text belongs to the prompt in the data sets that people bring."""
_OTHER_NAMES = {
    "prompt": ("instruction", "question", "query"),
    "response": ("output", "answer", "completion", "response"),
    "messages": ("conversations", "conversation", "dialogue"),
}
_LONGEST_LIST = 2000
_LONGEST = 300
"""Characters of what a message tells of a file's columns."""


@dataclass(frozen=True)
class Choice:
    """What a catalog entry says of a file's columns."""

    fields: tuple[str, ...]
    """The record's own, and those that may stand in their place."""
    columns: Columns | None
    """None: the file's columns are the fields, and there are no others."""
    ignore: tuple[str, ...] = ()
    """Columns that the entry passes over knowingly."""

    def sources(self, field: str) -> tuple[str, ...]:
        """The columns of a field."""
        named = (self.columns or {}).get(field, field)
        return (named,) if isinstance(named, str) else tuple(named)

    def fitted(self, row: dict[str, Any]) -> dict[str, Any]:
        """The fields of a row; one of which the row has no column is left out.

        Raises:
            ValueError: What is to be joined is no text.
        """
        if self.columns is None:
            return {name: value for name, value in row.items() if name not in self.ignore}
        wanted = dict.fromkeys([*self.fields, *self.columns])
        found = {field: self._joined(field, row) for field in wanted}
        return {field: value for field, value in found.items() if value is not None}

    def _joined(self, field: str, row: Mapping[str, Any]) -> Any:
        names = self.sources(field)
        if len(names) == 1:
            return row.get(names[0])
        given = {name: row[name] for name in names if row.get(name) is not None}
        for name, value in given.items():
            if not isinstance(value, str):
                raise ValueError(f"{name}: only texts can be joined")
        texts = [text for text in given.values() if not is_blank(text)]
        return "\n\n".join(texts) if given else None


def refuse_columns(columns: Columns | None, ignore: Sequence[str]) -> None:
    """Refuses an entry of a catalog that is no mapping of names.

    Raises:
        InputError: It is none.
    """
    given = {} if columns is None else columns
    sound = isinstance(given, Mapping) and all(
        isinstance(name, str) or (_are_names(name) and len(name)) for name in given.values()
    )
    if not sound or not _are_names(ignore):
        raise InputError(
            "Seed data: `columns` maps a field to a column, or to a list of columns that are "
            f"joined, and `ignore` lists columns. Found columns {columns!r}, ignore {ignore!r}."
        )


def refuse_missing(table: Table, choice: Choice, fields: Sequence[str]) -> None:
    """Refuses a mapping from columns that no row has.

    Raises:
        InputError: Which, and what is there.
    """
    there = table.columns()
    missing = [
        f"`{name}` (for {field})"
        for field in choice.columns or ()
        for name in choice.sources(field)
        if name not in there
    ]
    missing += [f"`{name}` (to ignore)" for name in choice.ignore if name not in there]
    if missing and there:
        raise InputError(
            f"{table.source}: no column {', '.join(missing)}. The columns there: "
            f"{one_line(', '.join(there), _LONGEST)}. Correct `columns` in its catalog entry; "
            f"the fields: {', '.join(fields)}."
        )


def passed_over(table: Table, choice: Choice, taken: Sequence[str]) -> list[str]:
    """The columns of which nothing is read, those aside that the entry ignores.

    Args:
        table: The file.
        choice: What the entry says.
        taken: The fields that are read.

    Raises:
        InputError: One of them holds text that belongs to the prompts.
    """
    if choice.columns is None:
        return []
    read = {name for field in taken for name in choice.sources(field)} | set(choice.ignore)
    left = [name for name in table.columns() if name not in read]
    lost = {name: _filled(table, name) for name in left if name in _PARTS_OF_PROMPT}
    lost = {name: count for name, count in lost.items() if count}
    if lost:
        counts = ", ".join(f"`{name}` in {count}" for name, count in lost.items())
        parts = _in_order(choice.sources("prompt"), lost)
        raise InputError(
            f"{table.source}: of {len(table.rows)} rows, text would be lost: {counts}. Join it "
            f"to the prompt (`columns: {{prompt: {parts}}}`), or leave it out knowingly "
            f"(`ignore: [{', '.join(lost)}]`) in its catalog entry."
        )
    return left


def advice(table: Table, choice: Choice) -> str:
    """What the names of a file's columns suggest to do, as the end of a message; or nothing."""
    there, fields = table.columns(), choice.fields
    if choice.columns is not None:
        return ""
    found: dict[str, str] = {}
    for field in (name for name in fields if name not in there):
        name = next((name for name in _OTHER_NAMES.get(field, ()) if name in there), None)
        parts = [part for part in _PARTS_OF_PROMPT if part in there] if field == "prompt" else []
        if name is not None:
            found[field] = _in_order([name], parts) if parts else name
    if not found:
        return _other_advice(table, [name for name in there if name not in fields])
    mapping = ", ".join(f"{field}: {name}" for field, name in found.items())
    return f". Perhaps `columns: {{{mapping}}}`"


def _other_advice(table: Table, further: Sequence[str]) -> str:
    """Where no column has another name that is known."""
    alone = table.rows[0].value if len(table.rows) == 1 else None
    value = alone if isinstance(alone, dict) else {}
    rows = [name for name in further if _are_rows(value.get(name))]
    if rows and len(further) == len(table.columns()):
        return f". Perhaps the rows are the list `{rows[0]}`: put it alone into the file"
    if not further:
        return ""
    names = one_line(json.dumps(further, ensure_ascii=False), _LONGEST_LIST)
    return f". To pass over what else is there: `ignore: {names}`"


def _in_order(prompt: Sequence[str], parts: Iterable[str]) -> str:
    """The list that joins a prompt and its parts."""
    before = [name for name in parts if name in _BEFORE_PROMPT]
    after = [name for name in parts if name not in _BEFORE_PROMPT]
    return f"[{', '.join([*before, *prompt, *after])}]"


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _filled(table: Table, name: str) -> int:
    """In how many rows a column holds something."""
    values = [row.value.get(name) for row in table.rows if isinstance(row.value, dict)]
    return sum(bool(value) and not (isinstance(value, str) and is_blank(value)) for value in values)


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(name, str) for name in value)
    )
