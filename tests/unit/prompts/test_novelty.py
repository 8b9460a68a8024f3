"""Decisions on similarity agree with the definition of ROUGE-L."""

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
    """All other characters separate tokens."""
    assert tokens("It's 3-fold: Größe!") == ["it", "s", "3", "fold", "gr", "e"]


def test_a_tie_with_the_limit_is_no_repetition():
    """7 of 10 words in common is 0.7 exactly, which is not above it; 8 of 10 is."""
    known = "a b c d e f g h i j"
    novelty = Novelty([known], LIMIT)
    assert not novelty.is_similar("a b c d e f g x y z")
    assert novelty.is_similar("a b c d e f g h y z")


def test_the_order_of_words_counts():
    """The same words in reverse order are new; the same words with gaps are not."""
    novelty = Novelty(["a b c d e f g h"], LIMIT)
    assert not novelty.is_similar("h g f e d c b a")
    assert novelty.is_similar("a b c d x e f g h")


def test_what_is_added_is_known():
    """An added prompt is known, and unknown words make no difference."""
    novelty = Novelty([], LIMIT)
    assert not novelty.is_known("Name two rare birds")
    novelty.add("Name two rare birds")
    assert novelty.is_known("name TWO rare birds!")
    assert novelty.is_similar("name two rare big birds")
    assert not novelty.is_similar("sing me a song")


@pytest.mark.parametrize("limit", ["0", "1"])
def test_the_ends_of_the_scale(limit):
    """At 0 one word in common is too much; at 1 even an equal prompt is not."""
    novelty = Novelty(["a b c"], Decimal(limit))
    assert novelty.is_similar("x y c z") == (limit == "0")
    assert not novelty.is_similar("x y z")
    assert novelty.is_similar("a b c") == (limit == "0")


def test_the_limit_is_no_float():
    """All digits of a limit count, also those that a float lacks."""
    known, new = "a b c d e f g h i j", "a b c d e f g x y z"
    assert Novelty([known], Decimal("0.69999999999999999999")).is_similar(new)
    assert not Novelty([known], Decimal("0.70000000000000000001")).is_similar(new)


def test_long_prompts_are_compared_too():
    """Prompts with more words than a signature has bits are compared right."""
    long = [f"w{number}" for number in range(1000)]
    novelty = Novelty([" ".join(long)], LIMIT)
    assert novelty.is_similar(" ".join(long[:701] + ["x"] * 299))
    assert not novelty.is_similar(" ".join(long[:700] + ["x"] * 300))


def test_a_pool_that_grows_forgets_nothing():
    """Among 2,500 prompts that have little in common, a near copy of each is found."""
    known = [" ".join(f"{letter}{number}" for letter in "abcdefghij") for number in range(2500)]
    novelty = Novelty(known[:1000], LIMIT)
    for text in known[1000:]:
        assert not novelty.is_similar(text)
        novelty.add(text)
    copies = [" ".join([*text.split()[:8], "two", "new"]) for text in known]
    assert all(novelty.is_similar(text) and not novelty.is_known(text) for text in copies)


few = st.sampled_from("abc")
some = st.sampled_from([*"abcdefgh", "1", "the"])
many = st.integers(0, 600).map("w{}".format)
"""So many words that several of them flip the same bit."""


@st.composite
def pools(draw):
    """Known prompts and a new one, which may be a known one with some words changed."""
    words = draw(st.sampled_from([few, some, many]))
    known = draw(st.lists(st.lists(words, max_size=14), max_size=10))
    new = draw(st.lists(words, max_size=14))
    if known and draw(st.booleans()):
        new = [draw(words) if draw(st.integers(0, 3)) == 0 else w for w in known[0]]
    return [" ".join(each) for each in known], " ".join(new)


LIMITS = ["0", "0.05", "0.3", "0.5", "0.65", "0.7", "0.75", "0.9", "0.999", "1"]


@settings(max_examples=200, deadline=None)
@given(pools(), st.sampled_from(LIMITS))
def test_nothing_is_missed(pool, limit):
    """The decision agrees with a comparison with all known prompts in fractions."""
    known, new = pool
    half = len(known) // 2
    novelty = Novelty(known[:half], Decimal(limit))
    for text in known[half:]:
        novelty.add(text)
    expected = any(_rouge_l(new, text) > Fraction(limit) for text in known)
    assert novelty.is_similar(new) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(some, min_size=1, max_size=14), max_size=25), st.sampled_from(LIMITS))
def test_sifting_one_after_the_other(prompts, limit):
    """Accepting prompts one after the other agrees with the definition."""
    novelty, taken = Novelty([], Decimal(limit)), []
    for text in map(" ".join, prompts):
        similar = any(_rouge_l(text, known) > Fraction(limit) for known in taken)
        assert novelty.is_similar(text) == similar
        if not similar:
            novelty.add(text)
            taken.append(text)
