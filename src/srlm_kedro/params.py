"""The base of every stage's typed parameters."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

RESOURCE = "resource"
"""Marks a field that steers speed or memory and no result: `Annotated[int, RESOURCE]`."""


class Params(BaseModel):
    """Typed knobs of a stage: unknown keys are refused, and nothing changes after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def recipe(self) -> dict[str, Any]:
        """The values that can change a result, as plain JSON types (no `RESOURCE` fields)."""
        dumped = self.model_dump(mode="json")
        return {name: self._recipe_of(name, dumped[name]) for name in self._deciding()}

    def _deciding(self) -> list[str]:
        fields = type(self).model_fields
        return [name for name, field in fields.items() if RESOURCE not in field.metadata]

    def _recipe_of(self, name: str, dumped: Any) -> Any:
        value = getattr(self, name)
        return value.recipe() if isinstance(value, Params) else dumped


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


T = TypeVar("T")
Schedule = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
"""One value for all iterations, or a list: the first makes M2, the next M3; the last repeats."""


def at(schedule: tuple[T, ...], iteration: int) -> T:
    """The schedule's value for the iteration that makes M_`iteration` (2 is the first)."""
    return schedule[min(max(iteration - 2, 0), len(schedule) - 1)]
