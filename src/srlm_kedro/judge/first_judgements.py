"""Stops a judging without hope early: none of the first judgements can be used."""

import math
from collections import Counter
from collections.abc import Callable, Mapping

from srlm_kedro.display.safe_text import quoted_end
from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.engines.generation.watching import Key
from srlm_kedro.errors import GateError
from srlm_kedro.judge import refusals

LEAST = 64
"""A judging is not given up for fewer judgements than this."""


class FirstJudgements:
    """Watches the judgements that are begun first, until all of them have ended or one is of use.

    Those that end first would not do: they are the shortest.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        give_up_at: float,
        fault: Callable[[Completion], str],
        advice: Callable[[Mapping[str, int]], str],
    ):
        """Sets how many are watched.

        Args:
            stage: The name of the parameters that hold `give_up_at`, for the message.
            total: How many judgements there will be.
            give_up_at: Share of them that is watched, and at least `LEAST`. 1: none is.
            fault: Why a judgement is of no use; `ok` if it is of use.
            advice: What helps, from the number of judgements by reason.
        """
        self._stage, self._total, self._give_up_at = stage, total, give_up_at
        self._fault, self._advice = fault, advice
        self._awaited = max(LEAST, math.ceil(give_up_at * total))
        self.is_open = give_up_at < 1 and self._awaited < total
        self._first: set[Key] = set()
        self._ended: dict[Key, Completion] = {}

    def begin(self, key: Key) -> None:
        """Is watched if it is among the first."""
        if len(self._first) < self._awaited:
            self._first.add(key)

    def end(self, key: Key, completion: Completion) -> None:
        """One that is of use ends the watch.

        Raises:
            GateError: All of the first have ended, and none is of use.
        """
        if not self.is_open:
            return
        if self._fault(completion) == "ok":
            self.is_open = False
            return
        self.begin(key)
        if key in self._first:
            self._ended[key] = completion
        if len(self._ended) == self._awaited:
            self.is_open = False
            raise GateError(self._message(list(self._ended.values())))

    def _message(self, ended: list[Completion]) -> str:
        reasons = Counter(map(self._fault, ended))
        return (
            f"{self._stage}: none of the first {len(ended)} of {self._total} judgements can be "
            f"used, so the others are not drawn (limit `{self._stage}.give_up_at` = "
            f"{self._give_up_at:g}; 1 draws all of them). Of no use: {refusals.in_words(reasons)}. "
            f"One ends with {quoted_end(ended[0].text)}. {self._advice(reasons)}"
        )
