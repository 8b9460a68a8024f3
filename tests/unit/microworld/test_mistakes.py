"""Answers have the mistakes that reviewers name."""

import random

import pytest

from srlm_kedro.microworld.answers import (
    AGAIN,
    EXTRA,
    FITS,
    PERFECT,
    STRANGE,
    UNWANTED,
    answer,
    marks,
    needed,
    wrong_items,
)
from srlm_kedro.microworld.instructions import make


@pytest.fixture(scope="module")
def mistaken():
    """Instructions, wrong items, and the verdicts on these items."""
    rng = random.Random(3)
    instructions = [make(rng) for _ in range(1000)]
    wrong = [(each, wrong_items(each, rng)) for each in instructions]
    return [(each, items, marks(each, items)) for each, items in wrong]


def test_wrong_items_are_wrong_in_each_way(mistaken):
    """The items are never all right: they are repeated, strange, unwanted, too many or too few."""
    assert all(set(found) != {FITS} or len(found) != needed(one) for one, _, found in mistaken)
    seen = {mark for _, _, found in mistaken for mark in found}
    assert {AGAIN, STRANGE, UNWANTED, EXTRA} <= seen
    assert any(len(found) < needed(one) for one, _, found in mistaken)


def test_the_words_of_the_task_are_overlooked(mistaken):
    """In complete answers, an unwanted word occurs or the wanted first word does not come first."""
    whole = [(one, found) for one, _, found in mistaken if len(found) == needed(one)]
    unwanted = [UNWANTED in found for one, found in whole if one.family == "without"]
    led = [found[0] != FITS for one, found in whole if one.family == "led"]
    assert sum(unwanted) > 0.2 * len(unwanted)
    assert sum(led) > 0.2 * len(led)


@pytest.mark.parametrize(("slips", "least", "most"), [(0, 1, 1), (1, 0, 0.2)])
def test_slips_replace_items(slips, least, most):
    """Each item is replaced separately, and mostly by a wrong one."""
    rng, people = random.Random(4), PERFECT.model_copy(update={"slips": slips})
    found = []
    for _ in range(300):
        instruction = make(rng)
        found += marks(instruction, answer(instruction, people, rng).items)
    assert least <= found.count(FITS) / len(found) <= most
