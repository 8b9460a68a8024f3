"""Rows of a file that people bring, whatever it is called: its content tells what it is."""

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srlm_kedro.errors import InputError, summary
from srlm_kedro.shown import one_line

Form = Literal["JSON lines", "JSON array", "Parquet", "CSV", "dataset"]

_LONGEST_CELL = 2**31 - 1
"""Characters: the csv module's own limit is 131,072."""
_LONGEST_FAULT = 500
"""Characters of a fault: some libraries quote what they read."""
_GZIP, _PARQUET, _BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
_NO_DATA = {
    b"version https://git-lfs": "is a Git LFS pointer, not the data. Fetch it: git lfs pull",
    b"<!doctype html": "is a web page, not the data. Download the file itself",
    b"<html": "is a web page, not the data. Download the file itself",
    b"pk\x03\x04": "is a ZIP archive. Unpack it, and name the file within",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd. Unpack it, or compress it with gzip",
    b"\xff\xfe": "is UTF-16. Save it as UTF-8",
    b"\xfe\xff": "is UTF-16. Save it as UTF-8",
}


@dataclass(frozen=True)
class Row:
    """One row as the file holds it, and where it stands."""

    place: str
    """`line 7` in JSON lines and CSV (where the row ends), `row 7` elsewhere; the first is 1."""
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

    Blank lines are passed over. What Parquet holds as null is left out of its row.

    Raises:
        InputError: The file is none of these, is empty or is damaged. Single rows that cannot be
            read are kept as rows with a fault.
    """
    content = _unpacked(path)
    start = content.lstrip()[:64].lower()
    for magic, said in _NO_DATA.items():
        if start.startswith(magic):
            raise InputError(f"{path}: {said}.")
    if not start:
        raise InputError(f"{path}: is empty. Put the data there, or fetch the file again.")
    if content.startswith(_PARQUET):
        return Table(str(path), "Parquet", _parquet(path, content))
    content = content.removeprefix(_BOM)
    array = _array(path, content) if content.lstrip().startswith(b"[") else None
    if array is not None:
        return Table(str(path), "JSON array", array)
    delimiter = _delimiter(content)
    if delimiter:
        return Table(str(path), "CSV", list(_csv(_text(path, content), delimiter)))
    return Table(str(path), "JSON lines", list(_json_lines(content)))


def numbered(values: Sequence[Any]) -> list[Row]:
    """Rows that have no lines: `row 1`, `row 2`, ..."""
    return [Row(f"row {number}", value) for number, value in enumerate(values, start=1)]


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its nulls: a table of fixed columns has no other way to leave one out."""
    return {name: value for name, value in row.items() if value is not None}


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: broken gzip ({error}). Fetch the file again.") from error


def _parquet(path: Path, content: bytes) -> list[Row]:
    import pyarrow  # half a second that most runs need not spend
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
        index = [name for name in table.column_names if name.startswith("__index_level_")]
        rows = table.drop_columns(index).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        said = one_line(str(error), _LONGEST_FAULT)
        raise InputError(f"{path}: broken Parquet ({said}). Fetch the file again.") from error
    return numbered([filled(row) for row in rows])


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


def _parsed(text: str) -> Any:
    value = json.loads(text)
    if "\\ud" in text.lower():
        # Half a surrogate pair can be escaped in JSON, but never written as UTF-8 again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _delimiter(content: bytes) -> str | None:
    """What parts the columns of the header, or None if this is no CSV."""
    header = content.lstrip().split(b"\n", 1)[0]
    if header.startswith((b"{", b"[")):
        return None
    counts = {mark: header.count(mark.encode()) for mark in ",;\t"}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else None


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
            if twice := [name for name, times in Counter(header).items() if times > 1]:
                yield Row("line 1", None, f"several columns are called {twice[0]!r}")
        elif values:
            yield _csv_row(f"line {reader.line_num}", header, values)


def _csv_row(place: str, header: list[str], values: list[str]) -> Row:
    if len(values) != len(header):
        return Row(place, None, f"{len(values)} values under {len(header)} columns")
    return Row(place, dict(zip(header, values, strict=True)))


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 ({error}). Save it as UTF-8.") from error
