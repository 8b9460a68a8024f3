"""Reads a file or a folder that people bring; the content of a file tells its format.

Parquet is read by pyarrow; JSON and CSV are read by Python's own modules (`text_formats`). The
readers of `datasets`, pandas and pyarrow cannot take their place: they turn texts that look like
dates or numbers into dates and numbers (`007` becomes 7), stop at the first faulty row without its
line, and read web pages and Git LFS pointers as tables.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srlm_kedro.datasets.rows.contents import PARQUET, read_content
from srlm_kedro.datasets.rows.table import LONGEST_FAULT, Row, Table, numbered_rows, without_nulls
from srlm_kedro.datasets.rows.text_formats import first_duplicate, read_text
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError

_BY_SPLIT = "srlm_kedro.datasets.hugging_face.HubSeedDataset"
_NUMBERS = re.compile(r"-[0-9a-f]{16}(?=\.)|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+")
"""The parts of a file's name in which the parts of one table differ: numbers and digests."""
_PART_OF = re.compile(r"-(\d+)-of-(\d+)\b")
_LONGEST_LIST = 300
"""Characters of a list of files."""


def read_table(path: Path) -> Table:
    """The rows of a file of JSON lines, a JSON array, Parquet or CSV, gzip-compressed or not.

    A folder of Parquet parts is one table, in the order of the parts' names. Blank lines are
    skipped. A null in Parquet is left out of its row. The columns of a CSV file may be separated by
    commas, semicolons, tabs or bars.

    Raises:
        InputError: The file has none of these formats, is empty or is damaged. A single row that
            cannot be read becomes a row with a fault.
    """
    if path.is_dir():
        return Table(str(path), "Parquet", _read_parts(path))
    content = read_content(path)
    if content.startswith(PARQUET):
        return Table(str(path), "Parquet", numbered_rows(_read_parquet(path, content)))
    return read_text(path, content)


def _read_parts(folder: Path) -> list[Row]:
    """The rows of all Parquet files of a folder, which are the parts of one table."""
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
        found = one_line(", ".join(sorted(tables.values())), _LONGEST_LIST)
        raise InputError(
            f"{folder}: holds several tables: {found}. Name one of them, or read the folder by "
            f"{_BY_SPLIT} with `split`."
        )
    _refuse_missing_parts(folder, list(parts))
    return [
        Row(f"{name}, row {number}", value)
        for name, file in parts.items()
        for number, value in enumerate(_read_parquet(file, read_content(file)), start=1)
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


def _read_parquet(path: Path, content: bytes) -> list[dict[str, Any]]:
    import pyarrow  # takes half a second, which most runs need not spend
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        name = first_duplicate(file.schema_arrow.names)
        if name is not None:
            raise InputError(f"{path}: several columns are called {name!r}. Rename one.")
        table = file.read()
        index = [name for name in table.column_names if name.startswith("__index_level_")]
        rows = table.drop_columns(index).to_pylist()
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        message = one_line(str(error), LONGEST_FAULT)
        raise InputError(f"{path}: broken Parquet ({message}). Fetch the file again.") from error
    return [without_nulls(row) for row in rows]
