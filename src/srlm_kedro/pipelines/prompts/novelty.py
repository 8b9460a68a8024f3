"""ROUGE-L against all known prompts, exact and fast.

ROUGE-L F of two token lists is `2 LCS / (m + n)`. It is compared in integers, for floats decide
some exact ties wrongly. An index by prefix finds the prompts that could be over the limit: the
longest common subsequence is no longer than the common multiset of tokens, and two multisets that
share o elements share one among the first `size - o + 1` of each, in any order common to both.
Rare tokens stand first in ours, so that few prompts are looked at.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal

from rapidfuzz.distance import LCSseq

_FIRST_CHARACTER = 0xE000  # past the surrogates, which no string may hold


def tokens(text: str) -> list[str]:
    """Lower-cased runs of ASCII letters and digits, as `rouge_score` cuts them (no stemmer)."""
    return re.findall(r"[a-z0-9]+", text.lower())


class Novelty:
    """Known prompts, asked whether a new one is too near to any of them."""

    def __init__(self, known: Iterable[str], limit: Decimal) -> None:
        self._numerator, self._denominator = limit.as_integer_ratio()
        lists = [tokens(text) for text in known]
        self._frequency = Counter(token for known_tokens in lists for token in known_tokens)
        self._characters: dict[str, str] = {}
        self._known: list[str] = []
        self._exact: set[str] = set()
        self._index: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for known_tokens in lists:
            self._add(known_tokens)

    def add(self, text: str) -> None:
        """From now on `text` is known."""
        self._add(tokens(text))

    def is_known(self, text: str) -> bool:
        """True when a known prompt has the same tokens."""
        return self._mapped(tokens(text)) in self._exact

    def is_similar(self, text: str) -> bool:
        """True when ROUGE-L F with some known prompt is above the limit."""
        new = tokens(text)
        mapped = self._mapped(new)
        looked_at: set[int] = set()
        for element in self._prefix(new):
            for number in self._index.get(element, ()):
                if number not in looked_at:
                    looked_at.add(number)
                    if self._too_near(mapped, self._known[number]):
                        return True
        return False

    def _add(self, new: list[str]) -> None:
        mapped = self._mapped(new)
        if mapped in self._exact:
            return
        self._exact.add(mapped)
        for element in self._prefix(new):
            self._index[element].append(len(self._known))
        self._known.append(mapped)

    def _mapped(self, words: list[str]) -> str:
        """One character a word, which is what the bit-parallel LCS takes."""
        table = self._characters
        return "".join(table.setdefault(word, chr(_FIRST_CHARACTER + len(table))) for word in words)

    def _too_near(self, one: str, other: str) -> bool:
        # 2 LCS / (m + n) > limit  <=>  LCS >= least
        twice = self._numerator * (len(one) + len(other))
        least = twice // (2 * self._denominator) + 1
        return least <= min(len(one), len(other)) and (
            LCSseq.similarity(one, other, score_cutoff=least) >= least
        )

    def _prefix(self, words: list[str]) -> list[tuple[str, int]]:
        """The rarest elements (token, how manieth), as many as must meet a too near prompt's."""
        size = len(words)
        shared = self._numerator * size // (2 * self._denominator - self._numerator) + 1
        counts = Counter(words)
        order = sorted(counts, key=lambda word: (self._frequency[word], word))
        elements = [(word, number) for word in order for number in range(counts[word])]
        return elements[: max(size - shared + 1, 0)]
