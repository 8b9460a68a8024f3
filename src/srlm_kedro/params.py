"""The base of every stage's typed parameters."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

RESOURCE = "resource"
"""Marks a field that steers speed or memory, and no result: `Annotated[int, RESOURCE]`."""
LIMIT = "limit"
"""Marks a limit that stops a run. When it changes, nothing is drawn or trained for it: the nodes
without an engine ask again whether what was made keeps it."""


@dataclass(frozen=True)
class Reads:
    """Names the fields that a node reads, where others read more of the same group.

    `evaluation: Annotated[EvaluationParams, Reads("judging", "retries")]`: what else changes in the
    group leaves the node's outputs fresh.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        """The fields' names."""
        object.__setattr__(self, "names", names)


MANY = 1_000_000_000
"""More of anything is a slip of the pen."""
TOKENS = 10_000_000
"""No text is longer, in tokens."""
SEED = 2**63 - 1
"""The largest seed: one of 64 bits, as files and databases hold it."""

Count = Annotated[int, Field(ge=1, le=MANY)]
Retries = Annotated[int, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(gt=0, le=10_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=10)]
Threads = Annotated[int, Field(ge=1, le=4096)]


class Params(BaseModel):
    """Typed knobs of a stage: unknown keys are refused, and nothing changes after the check.

    No number is NaN or infinite, and each has a lower and an upper bound (`bounds.py` lists them).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` and `on` as true, which would count as 1."""
        refuse_truth(value, cls.model_fields[str(info.field_name)].annotation)
        return value

    def recipe(
        self, iteration: int | None = None, engine: bool = False, reads: Reads | None = None
    ) -> dict[str, Any]:
        """The values that can change a result, as plain JSON types (no `RESOURCE` fields).

        Args:
            iteration: Of a schedule, the value for the iteration that makes M_`iteration` counts:
                what another iteration gets changes nothing here. None: all of it counts.
            engine: Whether an engine makes the result: then no `LIMIT` field counts.
            reads: The fields that count, whatever they are; None: all that the rules above leave.
        """
        dumped = self.model_dump(mode="json")
        names = self._deciding(engine) if reads is None else reads.names
        return {name: self._recipe_of(name, dumped[name], iteration, engine) for name in names}

    def _deciding(self, engine: bool) -> list[str]:
        idle = (RESOURCE, LIMIT) if engine else (RESOURCE,)
        fields = type(self).model_fields
        return [name for name, field in fields.items() if not _marked(field, idle)]

    def _recipe_of(self, name: str, dumped: Any, iteration: int | None, engine: bool) -> Any:
        value = getattr(self, name)
        if isinstance(value, Params):
            return value.recipe(iteration, engine)
        if iteration is not None and is_schedule(type(self).model_fields[name]):
            return at(tuple(dumped), iteration)
        return dumped


def _marked(field: FieldInfo, marks: tuple[str, ...]) -> bool:
    return any(mark in field.metadata for mark in marks)


def refuse_truth(value: Any, annotation: Any) -> None:
    """Raises ValueError for true or false in the place of a number."""
    if _holds_truth(value) and _holds_numbers(annotation):
        raise ValueError("a number is wanted here, not true or false")


def _holds_truth(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, list | tuple) and any(map(_holds_truth, value))
    )


def _holds_numbers(annotation: Any) -> bool:
    """Whether a type takes numbers, alone or in a list, and no truth values."""
    parts = get_args(annotation)
    if bool in (annotation, *parts):
        return False
    return annotation in (int, float, Decimal) or any(map(_holds_numbers, parts))


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
