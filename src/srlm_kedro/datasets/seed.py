"""Seed data: tables that people bring, checked row by row with file and line."""

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
    Choice,
    Columns,
    advice,
    passed_over,
    refuse_columns,
    refuse_missing,
)
from srlm_kedro.datasets.rows.dialogues import UnfitError
from srlm_kedro.datasets.rows.fields import Fitted, Rules
from srlm_kedro.datasets.rows.files import Row, Table, read_table
from srlm_kedro.datasets.rows.preferences import fields_of, further_columns, kind_of
from srlm_kedro.datasets.rows.rankings import Useless, counts, refusals, refuse_reasons, together
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest

_log = logging.getLogger(__name__)


class SeedDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A table kept as JSON lines, JSON array, Parquet or CSV; `record` is the class of its rows.

    Rows may be in the record's own form, or pairs, chats and scored completions as other data sets
    have them (see `datasets.rows.preferences`). It is saved as JSON lines.
    """

    INTERPRETS = True
    """Its code decides which rows a file gives, and so is part of what is made of them."""

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
            columns: Which column of the file each field comes from, where the names differ; texts
                of several (`prompt: [instruction, input]`) are joined by a blank line. Other
                columns of the file are passed over, and named in the log. Without it every column
                must be a field, or stand under `ignore`.
            drop: Reasons for which rows may be left out, of `rows.preferences.REASONS`; a row
                of no use for another reason is refused.
            ignore: Columns that are passed over knowingly, with or without `columns`: without a
                word, and even if they hold what belongs to the prompts (`input`, `context`,
                `system`).
            metadata: Free notes.
        """
        self._filepath = Path(filepath)
        self._record: type[BaseModel] = load_obj(record)
        refuse_columns(columns, ignore)
        refuse_reasons(drop)
        self._columns, self._drop, self._ignore = columns, tuple(drop), tuple(ignore)
        self.metadata = metadata
        self._described = str(self._filepath)
        if self._is_read_otherwise():
            # Another reading of the same file gives another table.
            self.fingerprint = self._reading

    def load(self) -> pd.DataFrame:
        """All rows.

        Raises:
            DatasetError: Rows that do not fit, each with file and line, or a damaged file.
        """
        table = read_table(self._filepath)
        self._described = table.described()
        return seed_table(table, self._record, self._columns, self._drop, self._ignore)

    def save(self, data: pd.DataFrame) -> None:
        """Writes one JSON object a line, in the order of the rows.

        Other rows that are there, which somebody may have edited, are kept beside it.
        """
        if self._is_read_otherwise():
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
        """The file and, once it was loaded, what it was taken for."""
        return self._described

    def _is_read_otherwise(self) -> bool:
        """Whether the entry says how the file is read: no stage makes such a file."""
        return self._columns is not None or bool(self._drop or self._ignore)

    def _reading(self) -> dict[str, Any]:
        reading = {"content": content_digest(self._filepath), "columns": dict(self._columns or {})}
        if self._columns is None and self._ignore:  # with `columns` it changes no row
            reading["ignore"] = sorted(self._ignore)
        return reading | ({"drop": sorted(self._drop)} if self._drop else {})

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "record": self._record.__name__}


def seed_table(
    table: Table,
    record: type[BaseModel],
    columns: Columns | None,
    drop: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> pd.DataFrame:
    """The rows as `record` has them; one without an id gets its number: `ift-0001`.

    Args:
        table: The rows of a file, in the record's own form or in one of `rows.preferences`.
        record: The class of the rows.
        columns: Which column each field comes from; None: the columns are the fields.
        drop: Reasons for which sound rows may be left out; they are counted, and logged.
        ignore: Columns that are passed over knowingly.

    Raises:
        InputError: Rows that do not fit or are of no use, or columns that are lost or not there.
    """
    fields = list(record.model_fields)
    kind = kind_of(fields)
    choice = Choice((*fields, *further_columns(kind)), columns, tuple(ignore))
    refuse_missing(table, choice, fields)
    rules = Rules(record, kind, choice, table.form, tuple(drop))
    faults: list[str] = []
    found, unfit = _fitted(table, rules, fields, faults)
    rows, useless = together(found, rules)
    unfit += useless
    faults += refusals(table.source, [one for one in unfit if one.reason not in drop])
    forms = {row.form for row in found}
    taken = [*fields, "ranks", *(name for form in forms for name in fields_of(form))]
    left: list[str] = []
    try:
        left = passed_over(table, choice, taken)
    except InputError as error:
        faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))
    joined = len(found) - len(useless) - len(rows)
    if said := counts(unfit, joined, left):
        _tell_once(f"{table.source}: {len(rows)} prompts of {len(table.rows)} rows; {said}")
    return pd.DataFrame(rows, columns=fields)


def _fitted(
    table: Table, rules: Rules, fields: Sequence[str], faults: list[str]
) -> tuple[list[Fitted], list[Useless]]:
    """The rows that fit, and those of no use; what is wrong with others is added to `faults`."""
    unfit: list[Useless] = []

    def fitted(number: int, row: Row) -> Fitted | None:
        try:
            return rules.fitted(number, row)
        except UnfitError as error:
            unfit.append(Useless(row.place, error.reason))
            return None

    rule = f"rows must hold {', '.join(fields)}"
    if rules.choice.columns is None:
        rule += " and nothing else but columns that its catalog entry names under `ignore`"
    hint = advice(table, rules.choice)
    try:
        return [row for row in table.checked(fitted, rule + hint) if row is not None], unfit
    except InputError as error:
        faults.append(str(error))
        return [], unfit


@cache
def _tell_once(line: str) -> None:
    """A table is read several times in a run."""
    _log.info(line)


def _keep(file: Path) -> None:
    """Moves a file aside, under a name that is free."""
    names = (file.with_name(f"{file.name}.before-{number}") for number in count(1))
    aside = next(path for path in names if not path.exists())
    file.replace(aside)
    _log.warning("%s held other rows; they are kept as %s.", file, aside.name)
