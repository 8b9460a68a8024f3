"""ROUGE-L decisions are exact, index or not."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srlm_kedro.pipelines.prompts.novelty import Novelty, tokens

LIMIT = Decimal("0.7")


def _lcs(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        before = row
        row = [0]
        for place, against in enumerate(other):
            row.append(before[place] + 1 if word == against else max(before[place + 1], row[-1]))
    return row[-1]


def _rouge_l(one: str, other: str) -> Fraction:
    a, b = tokens(one), tokens(other)
    return Fraction(2 * _lcs(a, b), len(a) + len(b)) if a or b else Fraction(0)


def test_tokens_are_lower_case_letters_and_digits():
    """Anything else parts two tokens."""
    assert tokens("It's 3-fold: Größe!") == ["it", "s", "3", "fold", "gr", "e"]


def test_a_tie_with_the_limit_is_no_repetition():
    """7 of 10 words in common is 0.7 exactly, which is not above it; 8 of 10 is."""
    known = "a b c d e f g h i j"
    novelty = Novelty([known], LIMIT)
    assert not novelty.is_similar("a b c d e f g x y z")
    assert novelty.is_similar("a b c d e f g h y z")


def test_the_order_of_words_counts():
    """The same words the other way round are new; the same words with gaps are not."""
    novelty = Novelty(["a b c d e f g h"], LIMIT)
    assert not novelty.is_similar("h g f e d c b a")
    assert novelty.is_similar("a b c d x e f g h")


def test_what_is_added_is_known():
    """A prompt counts against the next one, and words unseen so far make no difference."""
    novelty = Novelty([], LIMIT)
    assert not novelty.is_known("Name two rare birds")
    novelty.add("Name two rare birds")
    assert novelty.is_known("name TWO rare birds!")
    assert novelty.is_similar("name two rare big birds")
    assert not novelty.is_similar("sing me a song")


@pytest.mark.parametrize("limit", ["0", "1"])
def test_the_ends_of_the_scale(limit):
    """At 0 one word in common is too much; at 1 nothing is."""
    novelty = Novelty(["a b c"], Decimal(limit))
    assert novelty.is_similar("x y c z") == (limit == "0")
    assert not novelty.is_similar("x y z")
    assert novelty.is_similar("a b c") == (limit == "0")


sentences = st.lists(st.sampled_from("abcdefgh"), max_size=12).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(sentences, max_size=12),
    sentences,
    st.sampled_from(["0.3", "0.5", "0.7", "0.65", "0.9"]),
)
def test_the_index_misses_nothing(known, new, limit):
    """The decision is the one of comparing with every known prompt in fractions."""
    half = len(known) // 2
    novelty = Novelty(known[:half], Decimal(limit))
    for text in known[half:]:
        novelty.add(text)
    expected = any(_rouge_l(new, text) > Fraction(limit) for text in known)
    assert novelty.is_similar(new) == expected
