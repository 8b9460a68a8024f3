"""The dataset of seed tables that people bring; every fault is named with file and line."""

import json
import logging
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj
from pydantic import BaseModel

from srlm_kedro.datasets.rows.columns import (
    ColumnChoice,
    Columns,
    column_advice,
    refuse_columns,
    refuse_missing_columns,
    unread_columns,
)
from srlm_kedro.datasets.rows.dialogues import UnusableRowError
from srlm_kedro.datasets.rows.fields import ReadRow, RowReader
from srlm_kedro.datasets.rows.preferences import fields_of, further_columns, kind_of
from srlm_kedro.datasets.rows.rankings import (
    UnusableRow,
    combine_rows,
    log_summary,
    refuse_reasons,
    unusable_rows_fault,
)
from srlm_kedro.datasets.rows.reader import read_table
from srlm_kedro.datasets.rows.table import Row, Table
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest

_log = logging.getLogger(__name__)


class SeedDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A table of JSON lines, a JSON array, Parquet or CSV; `record` is the class of its rows.

    Rows may have the record's own form, or be pairs, chats or scored completions as other datasets
    have them (see `datasets.rows.preferences`). The table is saved as JSON lines.
    """

    INTERPRETS = True
    """This class decides which rows a file gives, so its code counts for what is made of them."""

    def __init__(
        self,
        filepath: str,
        record: str,
        columns: Columns | None = None,
        drop: Sequence[str] = (),
        ignore: Sequence[str] = (),
        metadata: dict[str, Any] | None = None,
    ):
        """Names file and class.

        Args:
            filepath: The file, or a folder of Parquet parts; the content tells the format.
            record: The pydantic class that each row must fit, as `package.module.Class`.
            columns: The column of the file for each field, if the names differ. Texts of several
                columns (`prompt: [instruction, input]`) are joined by a blank line. Other columns
                of the file are not read, and the log names them. Without `columns` every column
                must be a field or be listed under `ignore`.
            drop: Reasons for which rows may be left out (the keys of `rows.preferences.REASONS`).
                A row of no use for another reason is refused.
            ignore: Columns that are not read and not named in the log, with or without `columns`,
                even if they hold what belongs to the prompts (`input`, `context`, `system`).
            metadata: Free notes.
        """
        self._filepath = Path(filepath)
        self._record: type[BaseModel] = load_obj(record)
        refuse_columns(columns, ignore)
        refuse_reasons(drop)
        self._columns, self._drop, self._ignore = columns, tuple(drop), tuple(ignore)
        self.metadata = metadata
        self._described = str(self._filepath)
        if self._has_options():
            # The same file gives another table by other options.
            self.fingerprint = self._fingerprint

    def load(self) -> pd.DataFrame:
        """All rows.

        Raises:
            DatasetError: Rows do not fit, each named with file and line, or the file is damaged.
        """
        table = read_table(self._filepath)
        self._described = table.described()
        return seed_table(table, self._record, self._columns, self._drop, self._ignore)

    def save(self, data: pd.DataFrame) -> None:
        """Writes one JSON object per line, in the order of the rows.

        If the file has other rows, which a person may have edited, they are kept beside it.

        Raises:
            DatasetError: The entry has `columns`, `drop` or `ignore`: the file is not ours.
        """
        if self._has_options():
            raise DatasetError(
                f"{self._filepath}: a table read by `columns`, `drop` or `ignore` cannot be saved."
            )
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        rows = [self._record.model_validate(row).model_dump() for row in data.to_dict("records")]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        content = ("\n".join(lines) + "\n").encode()
        if self._filepath.exists() and self._filepath.read_bytes() != content:
            _keep(self._filepath)
        self._filepath.write_bytes(content)

    def described(self) -> str:
        """The file and, once it was loaded, its format."""
        return self._described

    def _has_options(self) -> bool:
        """Whether the entry says how the file is read; no stage makes such a file."""
        return self._columns is not None or bool(self._drop or self._ignore)

    def _fingerprint(self) -> dict[str, Any]:
        columns = dict(self._columns or {})
        options = reading_options(self._columns, self._drop, self._ignore)
        return {"content": content_digest(self._filepath), **options, "columns": columns}

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "record": self._record.__name__}


def reading_options(
    columns: Columns | None, drop: Sequence[str], ignore: Sequence[str]
) -> dict[str, Any]:
    """The options of an entry that decide its rows, for a fingerprint."""
    options: dict[str, Any] = {"columns": None if columns is None else dict(columns)}
    if columns is None and ignore:  # with `columns` it changes no row
        options["ignore"] = sorted(ignore)
    if drop:
        options["drop"] = sorted(drop)
    return options


def seed_table(
    table: Table,
    record: type[BaseModel],
    columns: Columns | None,
    drop: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> pd.DataFrame:
    """The rows of a table as `record` has them; a row without an id gets its number: `ift-0001`.

    Args:
        table: The rows of a file, in the record's own form or in one of `rows.preferences`.
        record: The class of the rows.
        columns: The column for each field; None: the columns are the fields.
        drop: Reasons for which sound rows may be left out; the log counts them.
        ignore: Columns that are not read.

    Raises:
        InputError: Rows do not fit or are of no use, or columns would be lost or do not exist.
    """
    fields = list(record.model_fields)
    kind = kind_of(fields)
    choice = ColumnChoice((*fields, *further_columns(kind)), columns, tuple(ignore))
    refuse_missing_columns(table, choice, fields)
    reader = RowReader(record, kind, choice, table.format, tuple(drop))
    faults: list[str] = []
    read, unusable = _read_rows(table, reader, fields, faults)
    rows, not_combined = combine_rows(read, reader)
    unusable += not_combined
    faults += unusable_rows_fault(table.source, [row for row in unusable if row.reason not in drop])
    forms = {row.form for row in read}
    used = [*fields, "ranks", *(name for form in forms for name in fields_of(form))]
    unread: list[str] = []
    try:
        unread = unread_columns(table, choice, used)
    except InputError as error:
        faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))
    joined = len(read) - len(not_combined) - len(rows)
    if line := log_summary(unusable, joined, unread):
        _log_once(f"{table.source}: {len(rows)} prompts of {len(table.rows)} rows; {line}")
    return pd.DataFrame(rows, columns=fields)


def _read_rows(
    table: Table, reader: RowReader, fields: Sequence[str], faults: list[str]
) -> tuple[list[ReadRow], list[UnusableRow]]:
    """The rows that fit, and those of no use; the faults of other rows are added to `faults`."""
    unusable: list[UnusableRow] = []

    def read(number: int, row: Row) -> ReadRow | None:
        try:
            return reader.read(number, row)
        except UnusableRowError as error:
            unusable.append(UnusableRow(row.place, error.reason))
            return None

    rule = f"rows must hold {', '.join(fields)}"
    if reader.choice.columns is None:
        rule += " and nothing else but columns that its catalog entry names under `ignore`"
    advice = column_advice(table, reader.choice)
    try:
        return [row for row in table.checked(read, rule + advice) if row is not None], unusable
    except InputError as error:
        faults.append(str(error))
        return [], unusable


@cache
def _log_once(line: str) -> None:
    """Logs a line once, although a run reads a table several times."""
    _log.info(line)


def _keep(file: Path) -> None:
    """Renames a file to a name that is free, such as `ift.jsonl.before-1`."""
    names = (file.with_name(f"{file.name}.before-{number}") for number in count(1))
    aside = next(path for path in names if not path.exists())
    file.replace(aside)
    _log.warning("%s held other rows; they are kept as %s.", file, aside.name)
