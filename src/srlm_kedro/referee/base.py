"""The protocol of a referee: someone who knows better than the models, for stages that measure.

The microworld's oracle is a referee that scores. A language model can be another (`llm_referee`).
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
"""The columns of the kinds of error, by short name."""
COLUMNS = ["score", *KINDS.values()]


class Assessment(Protocol):
    """What a referee says about one response; a property is None if the referee cannot tell."""

    @property
    def score(self) -> float | None:
        """0 to 5."""
        ...

    @property
    def reasons(self) -> Sequence[str]:
        """The reasons for the score, in sentences."""
        ...

    @property
    def items_wrong(self) -> bool | None:
        """Whether the items that the prompt asks for are wrong or incomplete."""
        ...

    @property
    def constraints_missed(self) -> float | None:
        """Share of the constraints that the response does not meet."""
        ...

    @property
    def voice_missed(self) -> bool | None:
        """Whether the response does not sound like an assistant."""
        ...

    @property
    def extras(self) -> bool | None:
        """Whether the response adds something that nobody asked for."""
        ...


class Referee(Protocol):
    """Assesses responses one by one."""

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Assessment]:
        """The assessment of each (prompt, response), in the same order."""
        ...


class CheckedAssessment(Assessment, Protocol):
    """An assessment that says of each constraint whether it is met."""

    @property
    def verdicts(self) -> Sequence[tuple[str, bool]]:
        """The kind of each constraint, and whether it is met, in the order of the prompt."""
        ...


class CheckingReferee(Protocol):
    """Checks each constraint of a prompt by a program."""

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> Sequence[CheckedAssessment]:
        """The assessment of each (prompt, response), in the same order."""
        ...


@runtime_checkable
class KnowingReferee(Protocol):
    """Knows the rules of a world of tasks, and assesses no prompt outside that world."""

    def understands(self, prompt: str) -> bool:
        """Whether the prompt is a task of the world."""
        ...

    def kind(self, prompt: str) -> str | None:
        """The kind of task; None for a prompt outside the world."""
        ...


@dataclass(frozen=True)
class Comparison:
    """Two responses to one prompt, in the order in which the referee sees them."""

    prompt: str
    first: str
    second: str


@runtime_checkable
class ComparingReferee(Protocol):
    """Compares two responses itself, as language models do. The order may influence it.

    If a referee compares, its comparisons decide the head-to-head instead of its scores.
    """

    def compare(self, comparisons: Sequence[Comparison]) -> Sequence[Completion]:
        """A raw text for each comparison that ends with [[A]] (the first), [[B]] or [[C]] (a tie).

        `judge.verdict.parse_verdict` reads the texts. A text without a verdict is left out.
        """
        ...


def assessment_table(found: Sequence[Assessment], index: pd.Index) -> pd.DataFrame:
    """One row per assessment: the columns `COLUMNS` as numbers, NaN if the referee cannot tell."""
    rows = [[getattr(one, name) for name in COLUMNS] for one in found]
    return pd.DataFrame(rows, index, COLUMNS, dtype=float)
