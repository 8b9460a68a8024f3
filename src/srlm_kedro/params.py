"""The base of every stage's typed parameters."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

RESOURCE = "resource"
"""Marks a field that changes only speed or memory, and no result: `Annotated[int, RESOURCE]`."""
LIMIT = "limit"
"""Marks a limit that stops a run. When it changes, nothing is sampled or trained again: only the
nodes without an engine check the outputs against it again."""


@dataclass(frozen=True)
class Reads:
    """Names the fields that a node reads of a parameter group.

    With `evaluation: Annotated[EvaluationParams, Reads("judging", "retries")]`, the node's outputs
    stay fresh when another field of the group changes.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        """The fields' names."""
        object.__setattr__(self, "names", names)


def environments(env: str | None) -> list[str]:
    """The environments of `--env`, each overriding the one before: `a+b` is a, and then b."""
    return env.split("+") if env else []


MAX_COUNT = 1_000_000_000
"""The largest count; a larger one is a typing error."""
MAX_TOKENS = 10_000_000
"""The largest length of a text, in tokens."""
MAX_SEED = 2**63 - 1
"""The largest seed: what a signed integer of 64 bits can hold."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Retries = Annotated[int, Field(ge=0, le=100)]
Seconds = Annotated[float, Field(gt=0, le=10_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=10)]
Threads = Annotated[int, Field(ge=1, le=4096)]


class Params(BaseModel):
    """The typed parameters of a stage: unknown keys are refused, and values cannot be changed.

    No number is NaN or infinite, and each has a lower and an upper bound (`bounds.py` lists them).
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_boolean_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` and `on` as true, which would count as 1."""
        refuse_booleans(value, cls.model_fields[str(info.field_name)].annotation)
        return value

    def recipe(
        self, iteration: int | None = None, engine: bool = False, reads: Reads | None = None
    ) -> dict[str, Any]:
        """The values that can change a result, as JSON types, without `RESOURCE` fields.

        Args:
            iteration: Of a schedule, only the value for the iteration that makes M_`iteration`
                counts. None: the whole schedule counts.
            engine: Whether an engine makes the result: then no `LIMIT` field counts.
            reads: The fields that count, whatever their marks. None: all fields that can change
                the result.
        """
        dumped = self.model_dump(mode="json")
        names = self._counting(engine) if reads is None else reads.names
        return {name: self._recipe_of(name, dumped[name], iteration, engine) for name in names}

    def _counting(self, engine: bool) -> list[str]:
        """The fields that can change a result."""
        without_effect = (RESOURCE, LIMIT) if engine else (RESOURCE,)
        fields = type(self).model_fields
        return [name for name, field in fields.items() if not _marked(field, without_effect)]

    def _recipe_of(self, name: str, dumped: Any, iteration: int | None, engine: bool) -> Any:
        value = getattr(self, name)
        if isinstance(value, Params):
            return value.recipe(iteration, engine)
        if iteration is not None and is_schedule(type(self).model_fields[name]):
            return at(tuple(dumped), iteration)
        return dumped


def _marked(field: FieldInfo, marks: tuple[str, ...]) -> bool:
    return any(mark in field.metadata for mark in marks)


def refuse_booleans(value: Any, annotation: Any) -> None:
    """Raises ValueError for true or false where the type wants a number."""
    if _holds_boolean(value) and _holds_numbers(annotation):
        raise ValueError("a number is wanted here, not true or false")


def _holds_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, list | tuple) and any(map(_holds_boolean, value))
    )


def _holds_numbers(annotation: Any) -> bool:
    """Whether a type takes numbers, or lists of numbers, and no true or false."""
    parts = get_args(annotation)
    if bool in (annotation, *parts):
        return False
    return annotation in (int, float, Decimal) or any(map(_holds_numbers, parts))


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


T = TypeVar("T")
Schedule = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
"""One value for all iterations, or a list: the first is for M2, the next for M3, and the last
for all later ones."""


def is_schedule(field: FieldInfo) -> bool:
    """Whether a field holds a value for each iteration."""
    return get_args(Schedule[float])[1] in field.metadata


def at(schedule: tuple[T, ...], iteration: int) -> T:
    """The schedule's value for the iteration that makes M_`iteration` (2 is the first)."""
    return schedule[min(max(iteration - 2, 0), len(schedule) - 1)]
