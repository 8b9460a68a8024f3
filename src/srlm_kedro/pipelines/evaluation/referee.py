"""What evaluation asks of a referee: someone who knows better than the models do.

The microworld's oracle is one that scores. An LLM judge can be another; if it compares, its
comparisons decide the head-to-head in place of its scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Verdict = Literal["first", "second", "tie"]


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
    """Assesses one response at a time."""

    def assess(self, prompt: str, response: str) -> Assessment:
        """What is true of the response."""
        ...


@dataclass(frozen=True)
class Comparison:
    """Two responses to one prompt, in the order in which the referee sees them."""

    prompt: str
    first: str
    second: str


@runtime_checkable
class ComparingReferee(Protocol):
    """Compares two responses itself, as LLM judges do; the order may sway it."""

    def compare(self, comparisons: Sequence[Comparison]) -> Sequence[Verdict | None]:
        """The better one of each; all at once, so that a referee can ask for many at a time.

        None is no verdict: that comparison is left out.
        """
        ...
