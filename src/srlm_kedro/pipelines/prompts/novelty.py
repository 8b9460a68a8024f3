"""ROUGE-L of a new prompt with all known prompts, exact and fast.

The ROUGE-L F of two prompts with m and n tokens is `2 LCS / (m + n)`, where LCS is the length of
their longest common subsequence. It is compared in integers, because floats decide some exact ties
wrongly.

Computing it for all known prompts would be slow, so signatures of 256 bits rule most of them out.
Each token of a prompt flips one bit of its signature. Tokens that two prompts share flip the same
bits, so the two signatures differ in at most `m + n - 2 shared` bits. The tokens of the LCS are
shared. Hence the signatures of two prompts above the limit differ in fewer than
`(1 - limit)(m + n)` bits. The signatures of most other prompts differ in more bits, and comparing
two signatures takes nanoseconds.
"""

import re
from collections.abc import Iterable
from decimal import Decimal

import numpy as np
from rapidfuzz.distance import LCSseq

_WORDS = 4  # of 64 bits, in a signature
_COLUMNS = 1024  # at the start; doubled when all are in use

Prompt = tuple[int, ...]
"""The numbers of a prompt's tokens."""


def tokens(text: str) -> list[str]:
    """Lower-cased runs of ASCII letters and digits, as `rouge_score` cuts them (no stemmer)."""
    return re.findall(r"[a-z0-9]+", text.lower())


class Novelty:
    """The known prompts, and whether a new prompt is too similar to one of them."""

    def __init__(self, known: Iterable[str], limit: Decimal) -> None:
        self._numerator, self._denominator = limit.as_integer_ratio()
        self._spare = float(1 - limit)
        self._numbers: dict[str, int] = {}
        self._exact: set[Prompt] = set()
        self._known: list[Prompt] = []
        # One column per known prompt: its signature, and its part of the bits that may differ.
        self._signatures = np.zeros((_WORDS, _COLUMNS), np.uint64)
        self._allowed = np.zeros(_COLUMNS, np.float32)
        for text in known:
            self.add(text)

    def add(self, text: str) -> None:
        """Adds `text` to the known prompts."""
        new, column = self._numbered(text), len(self._known)
        if new in self._exact:
            return
        if column == len(self._allowed):
            self._signatures = np.tile(self._signatures, 2)
            self._allowed = np.tile(self._allowed, 2)
        self._signatures[:, column] = _signature(new)
        self._allowed[column] = self._spare * len(new)
        self._exact.add(new)
        self._known.append(new)

    def is_known(self, text: str) -> bool:
        """True if a known prompt has the same tokens."""
        return self._numbered(text) in self._exact

    def is_similar(self, text: str) -> bool:
        """True if its ROUGE-L F with a known prompt is above the limit."""
        new = self._numbered(text)
        return any(self._too_near(new, self._known[column]) for column in self._suspects(new))

    def _suspects(self, new: Prompt) -> np.ndarray:
        """The columns of all known prompts that may be above the limit, and of few others."""
        size = len(self._known)
        flips = self._signatures[:, :size] ^ _signature(new)[:, np.newaxis]
        differing = np.bitwise_count(flips).sum(axis=0, dtype=np.uint16)
        # Half a bit more: rounding may add a candidate, but must not lose one.
        allowed = self._allowed[:size] + (self._spare * len(new) + 0.5)
        return np.flatnonzero(differing <= allowed)

    def _too_near(self, one: Prompt, other: Prompt) -> bool:
        # 2 LCS / (m + n) > limit  <=>  LCS >= least
        twice = self._numerator * (len(one) + len(other))
        least = twice // (2 * self._denominator) + 1
        return least <= min(len(one), len(other)) and (
            LCSseq.similarity(one, other, score_cutoff=least) >= least
        )

    def _numbered(self, text: str) -> Prompt:
        numbers = self._numbers
        return tuple([numbers.setdefault(token, len(numbers)) for token in tokens(text)])


def _signature(prompt: Prompt) -> np.ndarray:
    bits = 0
    for number in prompt:
        bits ^= 1 << number % (64 * _WORDS)
    return np.frombuffer(bits.to_bytes(8 * _WORDS, "little"), np.uint64)
