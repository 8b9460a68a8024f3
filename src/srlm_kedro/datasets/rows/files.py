"""Rows of a file that people bring, whatever it is called: its content tells what it is."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srlm_kedro.datasets.rows.contents import PARQUET, read_content
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError, summary

Form = Literal["JSON lines", "JSON array", "Parquet", "CSV", "dataset"]

_LONGEST_CELL = 2**31 - 1
"""Characters: the csv module's own limit is 131,072."""
_LONGEST_FAULT = 500
"""Characters of a fault: some libraries quote what they read."""
_BY_SPLIT = "srlm_kedro.datasets.hugging_face.HubSeedDataset"
_NUMBERS = re.compile(r"-[0-9a-f]{16}(?=\.)|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+")
"""What tells the parts of one table apart by name: numbers and sums."""
_QUOTED = re.compile(rb'"[^"]*"')
_PART_OF = re.compile(r"-(\d+)-of-(\d+)\b")
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
"""What may part the columns of a CSV."""
_LONE_COLUMN = re.compile(rb'"?[A-Za-z_]\w*"?\r?\n\s*\S')
_WORDS_OF_JSON = re.compile(rb"(true|false|null|NaN|Infinity)\s")


@dataclass(frozen=True)
class Row:
    """One row as the file holds it, and where it stands."""

    place: str
    """`line 7` in JSON lines and CSV (where the row ends), `row 7` elsewhere; the first is 1. In a
    folder of parts the part's name stands before it."""
    value: Any
    """A mapping if the file is sound; None if the row could not be read."""
    fault: str = ""
    """Why it could not be read."""


@dataclass(frozen=True)
class Table:
    """All rows of a file, in its order."""

    source: str
    form: Form
    rows: list[Row]
    mark: str = ""
    """What parts the columns of a CSV."""

    def described(self) -> str:
        """The file, and what it was taken for."""
        marked = f" with {_NAMES[self.mark]} between the columns" if self.mark else ""
        return f"{self.source} ({self.form}{marked})"

    def columns(self) -> list[str]:
        """Every column that some row has."""
        mappings = (row.value for row in self.rows if isinstance(row.value, dict))
        return list(dict.fromkeys(name for mapping in mappings for name in mapping))

    def checked(self, check: Callable[[int, Row], Any], rule: str) -> list[Any]:
        """What `check` makes of each row, given its number (the first is 1).

        Raises:
            InputError: Rows that could not be read or for which `check` raised a ValueError; all
                of them, each with its place. `rule` says what rows must be.
        """
        made, faults = [], []
        for number, row in enumerate(self.rows, start=1):
            try:
                if row.fault:
                    raise ValueError(row.fault)
                made.append(check(number, row))
            except ValueError as error:
                said = one_line(str(error), _LONGEST_FAULT)
                faults.append(f"{self.source}, {row.place}: {said}")
        if faults:
            raise InputError(summary(f"{self.source}: {len(faults)} bad rows; {rule}.", faults))
        return made


def read_table(path: Path) -> Table:
    """The rows of a file of JSON lines, a JSON array, Parquet or CSV, gzip-compressed or not.

    A folder of Parquet parts is one table, in the order of their names. Blank lines are passed
    over. What Parquet holds as null is left out of its row.

    The columns of a CSV may be parted by comma, semicolon, tab or bar.

    Raises:
        InputError: The file is none of these, is empty or is damaged. Single rows that cannot be
            read are kept as rows with a fault.
    """
    if path.is_dir():
        return Table(str(path), "Parquet", _parts(path))
    content = read_content(path)
    if content.startswith(PARQUET):
        return Table(str(path), "Parquet", numbered(_parquet(path, content)))
    array = _array(path, content) if content.lstrip().startswith(b"[") else None
    if array is not None:
        return Table(str(path), "JSON array", array)
    marks = _marks(content)
    if marks:
        return _parted(path, _text(path, content), marks)
    rows = list(_json_lines(content))
    if rows[0].fault:
        _refuse_spread_out(path, content)
        _refuse_unknown_form(path, content, rows)
    return Table(str(path), "JSON lines", rows)


def numbered(values: Sequence[Any]) -> list[Row]:
    """Rows that have no lines: `row 1`, `row 2`, ..."""
    return [Row(f"row {number}", value) for number, value in enumerate(values, start=1)]


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its nulls: a table of fixed columns has no other way to leave one out."""
    return {name: value for name, value in row.items() if value is not None}


def _parts(folder: Path) -> list[Row]:
    """The rows of all Parquet files of a folder, of which each is a part of one table."""
    parts = {
        file.relative_to(folder).as_posix(): file
        for file in sorted(folder.rglob("*.parquet"))
        if not any(name.startswith(".") for name in file.relative_to(folder).parts)
    }
    if not parts:
        raise InputError(
            f"{folder}: is a folder without Parquet files. Name a file in it, or read the folder "
            f"by {_BY_SPLIT}."
        )
    tables = {_NUMBERS.sub("", name): name for name in reversed(parts)}
    if len(tables) > 1:
        raise InputError(
            f"{folder}: holds several tables: {one_line(', '.join(sorted(tables.values())), 300)}. "
            f"Name one of them, or read the folder by {_BY_SPLIT} with `split`."
        )
    _refuse_missing_parts(folder, list(parts))
    return [
        Row(f"{name}, row {number}", value)
        for name, file in parts.items()
        for number, value in enumerate(_parquet(file, read_content(file)), start=1)
    ]


def _refuse_missing_parts(folder: Path, names: Sequence[str]) -> None:
    found = [match for name in names if (match := _PART_OF.search(name))]
    wanted = max((int(match[2]) for match in found), default=0)
    missing = sorted(set(range(wanted)) - {int(match[1]) for match in found})
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {wanted} parts are not there; the first is number "
            f"{missing[0]}. Fetch the folder again."
        )


def _parquet(path: Path, content: bytes) -> list[dict[str, Any]]:
    import pyarrow  # half a second that most runs need not spend
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(pyarrow.BufferReader(content)).names
        if (twice := _twice(names)) is not None:
            raise InputError(f"{path}: several columns are called {twice!r}. Rename one.")
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        index = [name for name in table.column_names if name.startswith("__index_level_")]
        rows = table.drop_columns(index).to_pylist()
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        said = one_line(str(error), _LONGEST_FAULT)
        raise InputError(f"{path}: broken Parquet ({said}). Fetch the file again.") from error
    return [filled(row) for row in rows]


def _twice(names: Iterable[str]) -> str | None:
    return next((name for name, times in Counter(names).items() if times > 1), None)


def _array(path: Path, content: bytes) -> list[Row] | None:
    """The items of a JSON array; None if the file is lines, of which the first is an array."""
    try:
        items = _parsed(_text(path, content))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        first = content.lstrip().split(b"\n", 1)[0]
        if b"\n" in content.strip() and not _json_row("", first).fault:
            return None
        raise InputError(f"{path}: a broken JSON array ({error}). Correct it there.") from error
    return numbered(items)


def _json_lines(content: bytes) -> Iterator[Row]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield _json_row(f"line {number}", line)


def _json_row(place: str, line: bytes) -> Row:
    try:
        return Row(place, _parsed(line.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        return Row(place, None, f"not a JSON object in UTF-8 ({error})")


def _refuse_spread_out(path: Path, content: bytes) -> None:
    """A JSON object that goes over several lines is told once, not once a line."""
    text = content.decode("utf-8", "replace").lstrip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict) and "\n" in text[:end]:
        keys = one_line(", ".join(value), _LONGEST_FAULT)
        raise InputError(
            f"{path}: is JSON over several lines, and no list of rows (the keys of its first "
            f"object: {keys}). Put the rows into one list, [...], or one row on a line each."
        )


def _parsed(text: str) -> Any:
    value = json.loads(text, object_pairs_hook=_once)
    if "\\ud" in text.lower():
        # Half a surrogate pair can be escaped in JSON, but never written as UTF-8 again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"the key {_twice(name for name, _ in pairs)!r} stands there twice")
    return row


def _refuse_unknown_form(path: Path, content: bytes, rows: Sequence[Row]) -> None:
    """Lines of which none is JSON, and whose first looks like none, are told once."""
    start = content.lstrip()
    if start.startswith((b"{", b"[")) or not all(row.fault for row in rows):
        return
    first = one_line(start.split(b"\n", 1)[0].decode("utf-8", "replace"), 80)
    raise InputError(
        f"{path}: is no table that can be read. Its first line, {first!r}, is no JSON, and no "
        "header of a CSV with columns parted by comma, semicolon, tab or bar. Save it with one of "
        "these between the columns, or as JSON lines."
    )


def _marks(content: bytes) -> list[str]:
    """What may part the columns of the header, the likeliest first; none if this is no CSV."""
    start = content.lstrip()
    header = start.split(b"\n", 1)[0]
    if header.startswith((b"{", b"[")):
        return []
    bare = _QUOTED.sub(b"", header)
    counts = {mark: bare.count(mark.encode()) for mark in _NAMES}
    found = [mark for mark in counts if counts[mark]]
    if found:
        return sorted(found, key=lambda mark: -counts[mark])
    return [","] if _LONE_COLUMN.match(start) and not _WORDS_OF_JSON.match(start) else []


def _parted(path: Path, text: str, marks: Sequence[str]) -> Table:
    """The CSV by the mark that leaves the fewest rows unread: names may hold the others."""
    tables = [Table(str(path), "CSV", list(_csv(text, mark)), mark) for mark in marks]
    return min(tables, key=lambda table: sum(bool(row.fault) for row in table.rows))


def _csv(text: str, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield Row(f"line {reader.line_num}", None, f"broken CSV ({error})")
            continue
        if values is None:
            return
        if not header:
            header = values
            if (twice := _twice(header)) is not None:
                yield Row("line 1", None, f"several columns are called {twice!r}")
        elif values:
            yield _csv_row(f"line {reader.line_num}", header, values)


def _csv_row(place: str, header: list[str], values: list[str]) -> Row:
    if len(values) != len(header):
        return Row(place, None, f"{len(values)} values under {len(header)} columns")
    row = dict(zip(header, values, strict=True))
    if not header[0] and values[0].isdecimal():  # the row's number, as pandas writes it
        del row[""]
    return Row(place, row)


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 ({error}). Save it as UTF-8.") from error
