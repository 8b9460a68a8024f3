"""Reads expectation suites from YAML and checks them before anything runs."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, field_validator

from srlm_kedro.errors import InputError, summary

_PREVIOUS = re.compile(r"\bprevious_\w+")


class Entry(BaseModel):
    """One expectation of a suite, in the words of Great Expectations."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: str
    """An expectation of Great Expectations, such as `expect_column_mean_to_be_between`."""
    kwargs: dict[str, Any] = {}
    """Its column and limits; `{$PARAMETER: previous_mean_reward + 1}` uses an earlier number."""
    severity: Literal["critical", "warning"]
    """A critical failure stops the run before training; a warning is logged and counted."""
    description: str
    """What is checked, in a few words."""
    notes: str = ""
    """What to do when it fails."""

    @field_validator("kwargs")
    @classmethod
    def _check_limits(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        not_finite = [name for name, value in kwargs.items() if _is_not_finite(value)]
        if not_finite:
            raise ValueError(f"{not_finite[0]} = {kwargs[not_finite[0]]} is no limit; leave it out")
        least, most = kwargs.get("min_value"), kwargs.get("max_value")
        if _is_number(least) and _is_number(most) and least > most:
            raise ValueError(f"min_value = {least} is above max_value = {most}")
        share = kwargs.get("mostly", 1)
        if not _is_number(share) or not 0 <= share <= 1:
            raise ValueError(f"mostly = {share} is no share between 0 and 1")
        return kwargs

    @property
    def needs(self) -> set[str]:
        """Names of the suite parameters in the limits: numbers of the iteration before."""
        return {name for text in _parameters(self.kwargs) for name in _PREVIOUS.findall(text)}


Suite = dict[str, list[Entry]]
"""The expectations of each table, by the table's name."""

_SUITE = TypeAdapter(Suite)


def read_suite(suite: Mapping[str, Any], place: str) -> Suite:
    """The suite, typed.

    Args:
        suite: Lists of expectations by table name, as YAML gives them.
        place: The file of the suite, for the message.

    Raises:
        InputError: Some entries are no expectations; the message names all of them.
    """
    try:
        return _SUITE.validate_python(suite)
    except ValidationError as error:
        faults = [
            _fault(item["loc"], item["msg"].removeprefix("Value error, "))
            for item in error.errors(include_url=False)
        ]
        raise InputError(summary(f"{place}: not an expectation suite.", faults)) from None


def suite_parameters(previous: Mapping[str, float | None]) -> dict[str, float]:
    """The metrics of the iteration before by parameter name.

    `judge/mean_reward` becomes `previous_mean_reward`.
    """
    named = {f"previous_{name.rpartition('/')[2]}": value for name, value in previous.items()}
    return {name: float(value) for name, value in named.items() if value is not None}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _parameters(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$PARAMETER" in value:
            yield str(value["$PARAMETER"])
        for inner in value.values():
            yield from _parameters(inner)


def _fault(location: tuple[int | str, ...], message: str) -> str:
    return f"{' / '.join(str(part) for part in location) or 'the whole'}: {message}"
