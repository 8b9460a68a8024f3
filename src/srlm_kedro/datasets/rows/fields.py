"""Reads one row of a file as the fields of a record: the same fields from every format."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from srlm_kedro.datasets.rows.columns import ColumnChoice
from srlm_kedro.datasets.rows.dialogues import BLANK, UnusableRowError, is_dialogue
from srlm_kedro.datasets.rows.preferences import (
    RecordKind,
    RowForm,
    form_of,
    to_record_form,
    with_best_response,
    without_other_forms,
)
from srlm_kedro.datasets.rows.table import FileFormat, Row

_POINT_ZERO = re.compile(r"-?\d+\.0")
_DIALOGUES = ("prompt", "response", "chosen", "rejected")
"""Fields that hold a text, or chat messages, which CSV holds as JSON."""
_BLANK_FAULTS = {"blank_response", "string_too_short"}


@dataclass(frozen=True)
class ReadRow:
    """A row that was read."""

    place: str
    form: RowForm
    fields: dict[str, Any]
    """The fields of the record; a pair has `responses`, whatever the record."""


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of one table."""

    record: type[BaseModel]
    kind: RecordKind
    choice: ColumnChoice
    file_format: FileFormat
    drop: tuple[str, ...] = ()
    """Reasons for which rows may be left out."""

    def read(self, number: int, row: Row) -> ReadRow:
        """The row in the record's fields.

        Args:
            number: The number of the row in the table; the first is 1.
            row: The row.

        Raises:
            UnusableRowError: The row is sound, but of no use.
            ValueError: The row does not fit the record.
        """
        if not isinstance(row.value, dict):
            self._checked(row.value)
        value = self.choice.select(_without_nulls(row.value))
        if self.file_format == "CSV":
            value = self._decoded(value)
        form = form_of(value, self.kind)
        if self.choice.columns is not None:
            value = without_other_forms(value, form)
        value = {"id": numbered_id(self.record, number)} | _with_id(value)
        fields = to_record_form(value, form, self.kind)
        best = self.takes_best(form)
        checked = self._checked(with_best_response(fields) if best else fields)
        is_ranking = form == "pair" and "responses" in fields
        return ReadRow(row.place, form, fields if is_ranking else checked)

    def takes_best(self, form: RowForm) -> bool:
        """Whether the record takes only the best response of a ranking."""
        return self.kind == "example" and form in ("pair", "completions")

    def _checked(self, value: Any) -> dict[str, Any]:
        try:
            return self.record.model_validate(value).model_dump()
        except ValidationError as error:
            if BLANK in self.drop and {fault["type"] for fault in error.errors()} <= _BLANK_FAULTS:
                raise UnusableRowError(BLANK) from error
            raise ValueError(describe_errors(error)) from error

    def _decoded(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Decodes a row of CSV, which holds only text: a field of another type is read as JSON."""
        fields = self.record.model_fields.items()
        texts = {name for name, field in fields if field.annotation is str}
        found = {}
        for name, cell in value.items():
            if name in _DIALOGUES:
                found[name] = _dialogue(name, cell)
            elif name == "id":
                found[name] = cell.removesuffix(".0") if _POINT_ZERO.fullmatch(cell) else cell
            elif name in texts:
                found[name] = cell
            elif cell.strip():
                found[name] = _from_json(cell)
        return found


def describe_errors(error: ValidationError) -> str:
    """Every field that a record refuses, with the rule, what was found, and what to write."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'row'}: {fault['msg']}{_found(fault)}"
        for fault in error.errors(include_url=False)
    )


def _found(fault: Any) -> str:
    """What was found, and what to write, if a number and a text were confused."""
    value = fault["input"]
    if fault["type"] == "string_type" and isinstance(value, int | float):
        return f", found {value}: write it as a text, {json.dumps(str(value))}"
    if fault["type"] == "int_type" and isinstance(value, str):
        return f", found {json.dumps(value)}: write it as a number, without quotes"
    return ""


def as_id(name: Any) -> Any:
    """The id as text, if it is a whole number in any spelling; anything else as it is."""
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return str(name) if isinstance(name, int) and not isinstance(name, bool) else name


def numbered_id(record: type[BaseModel], number: int) -> str:
    """The id of a row that has none."""
    return f"{record.__name__.removesuffix('Row').lower()}-{number:04d}"


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without null and NaN, in the row itself and in the objects of its lists."""
    found = {}
    for name, value in row.items():
        if isinstance(value, list):
            value = [
                {key: item[key] for key in item if not is_null(item[key])}
                if isinstance(item, dict)
                else item
                for item in value
            ]
        if not is_null(value):
            found[name] = value
    return found


def is_null(value: Any) -> bool:
    """Whether a value is null or NaN: tables write either for a missing value."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _with_id(value: dict[str, Any]) -> dict[str, Any]:
    """The row with its id as text; a blank id is left out."""
    name = as_id(value.get("id"))
    if isinstance(name, str) and not name.strip():
        return {field: value[field] for field in value if field != "id"}
    return value | {"id": name} if "id" in value else value


def _dialogue(name: str, cell: str) -> Any:
    """The messages that a cell holds as JSON, or the cell's text."""
    if not cell.lstrip().startswith(("[", "{")):
        return cell
    value = _from_json(cell)
    if isinstance(value, str) and re.match(r"\s*\[?\s*\{'(content|role|from|value)'", value):
        raise ValueError(f"{name}: a list as Python writes it. Write JSON, or save Parquet")
    return value if is_dialogue(value) else cell


def _from_json(cell: str) -> Any:
    """The JSON value of a cell, with `True` and `False` in any case; the text if it is no JSON."""
    try:
        return json.loads(cell.lower() if cell.lower() in ("true", "false") else cell)
    except (ValueError, RecursionError):
        return cell
