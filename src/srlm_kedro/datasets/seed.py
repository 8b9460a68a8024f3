"""Seed data: tables that people bring, checked row by row with file and line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro.utils import load_obj
from pydantic import BaseModel, ValidationError

from srlm_kedro.datasets.tables import Row, Table, read_table
from srlm_kedro.errors import InputError
from srlm_kedro.manifest import content_digest
from srlm_kedro.shown import one_line

Columns = Mapping[str, str]
"""Field of the record to column of the file."""
_LONGEST = 300
"""Characters of what a message tells of a file's columns."""


class SeedDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A table kept as JSON lines, JSON array, Parquet or CSV; `record` is the class of its rows.

    It is saved as JSON lines.
    """

    def __init__(
        self,
        filepath: str,
        record: str,
        columns: Columns | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names file and class.

        Args:
            filepath: The file; its content tells which format it has.
            record: The pydantic class that each row must fit, as `package.module.Class`.
            columns: Which column of the file each field comes from, where the names differ; other
                columns of the file are passed over. Without it every column must be a field.
            metadata: Free notes.
        """
        self._filepath = Path(filepath)
        self._record: type[BaseModel] = load_obj(record)
        self._columns = columns
        self.metadata = metadata
        if columns is not None:
            # Another reading of the same file gives another table; no stage makes such a file.
            self.fingerprint = self._reading

    def load(self) -> pd.DataFrame:
        """All rows.

        Raises:
            DatasetError: Rows that do not fit, each with file and line, or a file of no rows.
        """
        return seed_table(read_table(self._filepath), self._record, self._columns)

    def save(self, data: pd.DataFrame) -> None:
        """Writes one JSON object a line, in the order of the rows."""
        if self._columns is not None:
            raise DatasetError(f"{self._filepath}: a table read by `columns` cannot be saved.")
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        rows = [self._record.model_validate(row).model_dump() for row in data.to_dict("records")]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        self._filepath.write_text("\n".join(lines) + "\n", "utf-8")

    def _reading(self) -> dict[str, Any]:
        return {"content": content_digest(self._filepath), "columns": dict(self._columns or {})}

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "record": self._record.__name__}


def seed_table(table: Table, record: type[BaseModel], columns: Columns | None) -> pd.DataFrame:
    """The rows as `record` has them; one without an id gets its number: `ift-0001`.

    Raises:
        InputError: Rows that do not fit, or columns that are not there.
    """
    if columns is not None:
        _refuse_missing(table, record, columns)
    fields = list(record.model_fields)
    foreign = columns is not None or table.form != "JSON lines"

    def fitted(number: int, row: Row) -> dict[str, Any]:
        value = row.value
        if isinstance(value, dict):
            value = value if columns is None else _chosen(value, fields, columns)
            value = _decoded(value, record) if table.form == "CSV" else value
            value = {"id": _name(record, number), **value}
            if foreign and isinstance(value["id"], int):
                value["id"] = str(value["id"])
        try:
            return record.model_validate(value).model_dump()
        except ValidationError as error:
            raise ValueError(said(error)) from error

    rule = f"rows must hold {', '.join(fields)} and nothing else, unless `columns` chooses"
    return pd.DataFrame(table.checked(fitted, rule), columns=fields)


def said(error: ValidationError) -> str:
    """What a record refuses: each field with its rule."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'row'}: {fault['msg']}"
        for fault in error.errors(include_url=False)
    )


def _refuse_missing(table: Table, record: type[BaseModel], columns: Columns) -> None:
    there = table.columns()
    missing = [f"`{name}` (for {field})" for field, name in columns.items() if name not in there]
    if missing and there:
        raise InputError(
            f"{table.source}: no column {', '.join(missing)}. The columns there: "
            f"{one_line(', '.join(there), _LONGEST)}. Correct `columns` in its catalog entry; "
            f"the fields of {record.__name__}: {', '.join(record.model_fields)}."
        )


def _chosen(value: dict[str, Any], fields: list[str], columns: Columns) -> dict[str, Any]:
    wanted = {field: field for field in fields} | dict(columns)
    return {field: value[name] for field, name in wanted.items() if name in value}


def _decoded(value: dict[str, Any], record: type[BaseModel]) -> dict[str, Any]:
    """CSV holds text alone: what is no text field is JSON, or True and False in any case."""
    texts = [name for name, field in record.model_fields.items() if field.annotation is str]
    return {name: cell if name in texts else _from_json(cell) for name, cell in value.items()}


def _from_json(cell: str) -> Any:
    try:
        return json.loads(cell.lower() if cell.lower() in ("true", "false") else cell)
    except (ValueError, RecursionError):
        return cell


def _name(record: type[BaseModel], number: int) -> str:
    return f"{record.__name__.removesuffix('Row').lower()}-{number:04d}"
