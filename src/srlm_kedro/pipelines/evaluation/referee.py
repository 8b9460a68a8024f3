"""What evaluation asks of a referee beside assessments (`judge.assessment`): comparisons.

If it compares, its comparisons decide the head-to-head in place of its scores.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.judge.referee import Comparison


@runtime_checkable
class ComparingReferee(Protocol):
    """Compares two responses itself, as language models do; the order may sway it."""

    def compare(self, comparisons: Sequence[Comparison]) -> Sequence[Completion]:
        """Its words on each, raw, that conclude with [[A]] (the first), [[B]] or [[C]] (a tie).

        They are read by `judge.verdict.parse_verdict`; words without a verdict are left out.
        """
        ...
