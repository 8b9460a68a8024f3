"""Typed parameters as MLflow shows them: one short text per value."""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from srlm_kedro.display.safe_text import escaped
from srlm_kedro.params import Params, at, is_schedule

_LONGEST = 500
"""Characters of a value; longer ones are cut."""


def flat_parameters(parameters: Mapping[str, Any], iteration: int | None = None) -> dict[str, str]:
    """Every value by its dotted name.

    Args:
        parameters: Parameter groups by name (`dpo`), typed or as plain dictionaries.
        iteration: The t of the M_t being made: of each schedule only the value for M_t is given.
            Below 2 no schedule is used, and its value is a dash. None: schedules are given whole.
    """
    found: dict[str, str] = {}
    for name, value in parameters.items():
        found |= _flat(name, value, iteration)
    return found


def _flat(name: str, value: Any, iteration: int | None) -> dict[str, str]:
    if isinstance(value, Params):
        return _flat(name, _fields(value, iteration), iteration)
    if isinstance(value, Mapping) and value:
        parts = [_flat(f"{name}.{key}", value[key], iteration) for key in value]
        return {key: text for part in parts for key, text in part.items()}
    return {name: _text(value)}


def _fields(group: Params, iteration: int | None) -> dict[str, Any]:
    dumped = group.model_dump(mode="json")
    return {
        name: _value(getattr(group, name), dumped[name], field, iteration)
        for name, field in type(group).model_fields.items()
    }


def _value(value: Any, dumped: Any, field: FieldInfo, iteration: int | None) -> Any:
    if isinstance(value, Params):
        return value
    if iteration is None or not is_schedule(field):
        return dumped
    return at(dumped, iteration) if iteration >= 2 else "-"


def _text(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return escaped(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")
