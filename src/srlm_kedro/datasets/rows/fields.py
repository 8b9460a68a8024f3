"""One row of a file that people bring, as a record has it: the same from every format."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from srlm_kedro.datasets.rows.columns import Choice
from srlm_kedro.datasets.rows.dialogues import BLANK, UnfitError, is_dialogue
from srlm_kedro.datasets.rows.files import Form as FileForm
from srlm_kedro.datasets.rows.files import Row
from srlm_kedro.datasets.rows.preferences import (
    Form,
    Kind,
    as_own,
    best_alone,
    form_of,
    without_other_forms,
)

_POINT_ZERO = re.compile(r"-?\d+\.0")
_DIALOGUES = ("prompt", "response", "chosen", "rejected")
"""Fields of a text, or of messages that CSV holds as JSON."""
_NO_WORDS = {"blank_response", "string_too_short"}


@dataclass(frozen=True)
class Fitted:
    """A row that was read; `fields` are the record's, with `responses` where it came as a pair."""

    place: str
    form: Form
    fields: dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """How the rows of one table are read."""

    record: type[BaseModel]
    kind: Kind
    choice: Choice
    file_form: FileForm
    drop: tuple[str, ...] = ()

    def fitted(self, number: int, row: Row) -> Fitted:
        """The row in the record's fields.

        Raises:
            UnfitError: It is sound, but of no use.
            ValueError: It does not fit the record.
        """
        if not isinstance(row.value, dict):
            self._checked(row.value)
        value = self.choice.fitted(_without_nulls(row.value))
        if self.file_form == "CSV":
            value = self._decoded(value)
        form = form_of(value, self.kind)
        if self.choice.columns is not None:
            value = without_other_forms(value, form)
        own = as_own({"id": numbered_id(self.record, number)} | _with_id(value), form, self.kind)
        checked = self._checked(best_alone(own) if self.is_best_of(form) else own)
        return Fitted(row.place, form, own if form == "pair" and "responses" in own else checked)

    def is_best_of(self, form: Form) -> bool:
        """Whether the record takes the best response of what is a ranking."""
        return self.kind == "example" and form in ("pair", "completions")

    def _checked(self, value: Any) -> dict[str, Any]:
        try:
            return self.record.model_validate(value).model_dump()
        except ValidationError as error:
            if BLANK in self.drop and {fault["type"] for fault in error.errors()} <= _NO_WORDS:
                raise UnfitError(BLANK) from error
            raise ValueError(said(error)) from error

    def _decoded(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """CSV holds text alone: what is no text field is JSON, or True and False in any case."""
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


def said(error: ValidationError) -> str:
    """What a record refuses: each field with its rule, what was found, and the way out."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'row'}: {fault['msg']}{_found(fault)}"
        for fault in error.errors(include_url=False)
    )


def _found(fault: Any) -> str:
    """A number in the place of a text, or a text in the place of a number, and what to write."""
    value = fault["input"]
    if fault["type"] == "string_type" and isinstance(value, int | float):
        return f", found {value}: write it as a text, {json.dumps(str(value))}"
    if fault["type"] == "int_type" and isinstance(value, str):
        return f", found {json.dumps(value)}: write it as a number, without quotes"
    return ""


def as_id(name: Any) -> Any:
    """Whole numbers are ids as text, however a file writes them."""
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return str(name) if isinstance(name, int) and not isinstance(name, bool) else name


def numbered_id(record: type[BaseModel], number: int) -> str:
    """The id of a row that has none."""
    return f"{record.__name__.removesuffix('Row').lower()}-{number:04d}"


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is null or NaN, in the row itself and in the objects of its lists."""
    found = {}
    for name, value in row.items():
        if isinstance(value, list):
            value = [
                {key: item[key] for key in item if not _is_null(item[key])}
                if isinstance(item, dict)
                else item
                for item in value
            ]
        if not _is_null(value):
            found[name] = value
    return found


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _with_id(value: dict[str, Any]) -> dict[str, Any]:
    """The row with its id as text; a blank id is none."""
    name = as_id(value.get("id"))
    if isinstance(name, str) and not name.strip():
        return {field: value[field] for field in value if field != "id"}
    return value | {"id": name} if "id" in value else value


def _dialogue(name: str, cell: str) -> Any:
    """The messages that a cell holds as JSON, or its text."""
    if not cell.lstrip().startswith(("[", "{")):
        return cell
    value = _from_json(cell)
    if isinstance(value, str) and re.match(r"\s*\[?\s*\{'(content|role|from|value)'", value):
        raise ValueError(f"{name}: a list as Python writes it. Write JSON, or Parquet")
    return value if is_dialogue(value) else cell


def _from_json(cell: str) -> Any:
    try:
        return json.loads(cell.lower() if cell.lower() in ("true", "false") else cell)
    except (ValueError, RecursionError):
        return cell
