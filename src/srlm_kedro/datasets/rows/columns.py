"""Which columns of a file the fields of a record come from, and which columns would be lost."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.datasets.rows.dialogues import is_blank
from srlm_kedro.datasets.rows.table import Table
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError

Columns = Mapping[str, str | Sequence[str]]
"""The column of the file for each field, or several columns that are joined by a blank line."""

_BEFORE_PROMPT = ("system", "system_prompt", "history")
_PARTS_OF_PROMPT = (*_BEFORE_PROMPT, "input", "context")
"""Columns whose text belongs to the prompt in the datasets that people bring."""
_OTHER_NAMES = {
    "prompt": ("instruction", "question", "query"),
    "response": ("output", "answer", "completion", "response"),
    "messages": ("conversations", "conversation", "dialogue"),
}
"""What other datasets call a field."""
_LONGEST = 300
"""Characters that a message shows of a file's columns."""
_LONGEST_ADVICE = 2000
"""Characters of a list of columns that is to be copied into the catalog."""


@dataclass(frozen=True)
class ColumnChoice:
    """What a catalog entry says about a file's columns."""

    fields: tuple[str, ...]
    """The fields of the record, and those of other forms of a row."""
    columns: Columns | None
    """None: every column of the file must be a field."""
    ignore: tuple[str, ...] = ()
    """Columns that the entry tells to ignore."""

    def sources(self, field: str) -> tuple[str, ...]:
        """The columns of a field."""
        named = (self.columns or {}).get(field, field)
        return (named,) if isinstance(named, str) else tuple(named)

    def select(self, row: dict[str, Any]) -> dict[str, Any]:
        """The fields of a row, without those for which the row has no column.

        Raises:
            ValueError: A column that is to be joined holds no text.
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
    """Refuses `columns` that is no mapping of names and `ignore` that is no list of names.

    Raises:
        InputError: One of them is wrong.
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


def refuse_missing_columns(table: Table, choice: ColumnChoice, fields: Sequence[str]) -> None:
    """Refuses an entry that names columns that no row has.

    Raises:
        InputError: The message names them and the columns that exist.
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


def unread_columns(table: Table, choice: ColumnChoice, used: Sequence[str]) -> list[str]:
    """The columns that no field is read from, without those that the entry tells to ignore.

    Args:
        table: The file.
        choice: What the entry says.
        used: The fields that are read.

    Raises:
        InputError: One of the columns holds text that belongs to the prompts.
    """
    if choice.columns is None:
        return []
    read = {name for field in used for name in choice.sources(field)} | set(choice.ignore)
    left = [name for name in table.columns() if name not in read]
    lost = {name: _filled(table, name) for name in left if name in _PARTS_OF_PROMPT}
    lost = {name: count for name, count in lost.items() if count}
    if lost:
        counts = ", ".join(f"`{name}` in {count}" for name, count in lost.items())
        parts = _in_order(choice.sources("prompt"), lost)
        raise InputError(
            f"{table.source}: of {len(table.rows)} rows, text would be lost: {counts}. Join it "
            f"to the prompt (`columns: {{prompt: {parts}}}`), or leave it out "
            f"(`ignore: [{', '.join(lost)}]`) in its catalog entry."
        )
    return left


def column_advice(table: Table, choice: ColumnChoice) -> str:
    """What to write into the entry, guessed from the names of the columns; the end of a message."""
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
    """What to do if no column has a known other name."""
    single = table.rows[0].value if len(table.rows) == 1 else None
    value = single if isinstance(single, dict) else {}
    rows = [name for name in further if _are_rows(value.get(name))]
    if rows and len(further) == len(table.columns()):
        return f". Perhaps the rows are the list `{rows[0]}`: make that list the whole file"
    if not further:
        return ""
    names = one_line(json.dumps(further, ensure_ascii=False), _LONGEST_ADVICE)
    return f". To ignore what else is there: `ignore: {names}`"


def _in_order(prompt: Sequence[str], parts: Iterable[str]) -> str:
    """The list of columns that joins a prompt and its parts."""
    before = [name for name in parts if name in _BEFORE_PROMPT]
    after = [name for name in parts if name not in _BEFORE_PROMPT]
    return f"[{', '.join([*before, *prompt, *after])}]"


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _filled(table: Table, name: str) -> int:
    """In how many rows a column holds more than blanks."""
    values = [row.value.get(name) for row in table.rows if isinstance(row.value, dict)]
    return sum(bool(value) and not (isinstance(value, str) and is_blank(value)) for value in values)


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(name, str) for name in value)
    )
