"""What evaluation asks of a referee: someone who knows better than the models do.

The microworld's oracle is one that scores. A language model can be another (`judge.referee`); if
it compares, its comparisons decide the head-to-head in place of its scores.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.judge.referee import Comparison


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


class Referee(Protocol):
    """Assesses responses, each by itself."""

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> Sequence[Assessment]:
        """What is true of each (prompt, response), asked for all at once."""
        ...


@runtime_checkable
class ComparingReferee(Protocol):
    """Compares two responses itself, as language models do; the order may sway it."""

    def compare(self, comparisons: Sequence[Comparison]) -> Sequence[Completion]:
        """Its words on each, raw, that conclude with [[A]] (the first), [[B]] or [[C]] (a tie).

        They are read by `judge.verdict.parse_verdict`; words without a verdict are left out.
        """
        ...
