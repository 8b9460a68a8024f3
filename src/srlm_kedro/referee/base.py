"""What stages that measure ask of a referee: someone who knows better than the models do.

The microworld's oracle is one that scores. A language model can be another (`llm_referee`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pandas as pd

from srlm_kedro.engines.generation.base import Completion

KINDS = {
    "items": "items_wrong",
    "constraints": "constraints_missed",
    "voice": "voice_missed",
    "extras": "extras",
}
"""Columns of the kinds of error, by their short names."""
COLUMNS = ["score", *KINDS.values()]


class Assessment(Protocol):
    """What a referee says of one response; None where it cannot tell."""

    @property
    def score(self) -> float | None:
        """0 to 5."""
        ...

    @property
    def reasons(self) -> Sequence[str]:
        """Why, in sentences."""
        ...

    @property
    def items_wrong(self) -> bool | None:
        """What was asked for is wrong or incomplete."""
        ...

    @property
    def constraints_missed(self) -> float | None:
        """Share of the constraints that were not met."""
        ...

    @property
    def voice_missed(self) -> bool | None:
        """It does not sound like an assistant."""
        ...

    @property
    def extras(self) -> bool | None:
        """Something was added that nobody asked for."""
        ...


class Referee(Protocol):
    """Assesses responses, each by itself."""

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Assessment]:
        """What is true of each (prompt, response), asked for all at once."""
        ...


@runtime_checkable
class KnowingReferee(Protocol):
    """Knows the tasks of a world by its rules, and assesses no prompt outside of it."""

    def understands(self, prompt: str) -> bool:
        """Whether the prompt is a task of its world."""
        ...

    def kind(self, prompt: str) -> str | None:
        """The kind of task; None outside of its world."""
        ...


@dataclass(frozen=True)
class Comparison:
    """Two responses to one prompt, in the order in which the referee sees them."""

    prompt: str
    first: str
    second: str


@runtime_checkable
class ComparingReferee(Protocol):
    """Compares two responses itself, as language models do; the order may sway it.

    If a referee compares, its comparisons decide the head-to-head in place of its scores.
    """

    def compare(self, comparisons: Sequence[Comparison]) -> Sequence[Completion]:
        """Its words on each, raw, that conclude with [[A]] (the first), [[B]] or [[C]] (a tie).

        They are read by `judge.verdict.parse_verdict`; words without a verdict are left out.
        """
        ...


def tabulated(found: Sequence[Assessment], index: pd.Index) -> pd.DataFrame:
    """Columns `COLUMNS` as numbers, NaN where the referee cannot tell; a row an assessment."""
    rows = [[getattr(one, name) for name in COLUMNS] for one in found]
    return pd.DataFrame(rows, index, COLUMNS, dtype=float)
