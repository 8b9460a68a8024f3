"""The base of every stage's typed parameters."""

from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

RESOURCE = "resource"
"""Marks a field that steers speed or memory, or a limit that stops a run, and no result:
`Annotated[int, RESOURCE]`."""


class Params(BaseModel):
    """Typed knobs of a stage: unknown keys are refused, and nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def recipe(self, iteration: int | None = None) -> dict[str, Any]:
        """The values that can change a result, as plain JSON types (no `RESOURCE` fields).

        Of a schedule it is the value for the iteration that makes M_`iteration`, where one is
        named: what another iteration gets changes nothing here.
        """
        dumped = self.model_dump(mode="json")
        return {name: self._recipe_of(name, dumped[name], iteration) for name in self._deciding()}

    def _deciding(self) -> list[str]:
        fields = type(self).model_fields
        return [name for name, field in fields.items() if RESOURCE not in field.metadata]

    def _recipe_of(self, name: str, dumped: Any, iteration: int | None) -> Any:
        value = getattr(self, name)
        if isinstance(value, Params):
            return value.recipe(iteration)
        if iteration is not None and is_schedule(type(self).model_fields[name]):
            return at(tuple(dumped), iteration)
        return dumped


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


T = TypeVar("T")
Schedule = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
"""One value for all iterations, or a list: the first makes M2, the next M3; the last repeats."""


def is_schedule(field: FieldInfo) -> bool:
    """Whether a field holds a value for each iteration."""
    return get_args(Schedule[float])[1] in field.metadata


def at(schedule: tuple[T, ...], iteration: int) -> T:
    """The schedule's value for the iteration that makes M_`iteration` (2 is the first)."""
    return schedule[min(max(iteration - 2, 0), len(schedule) - 1)]
