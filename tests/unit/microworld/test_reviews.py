"""Reviews say what is right and what is wrong, and end with the score."""

import random
import re

import pytest

from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.microworld.answers import answer, read, write
from srlm_kedro.microworld.instructions import make, parse, phrase
from srlm_kedro.microworld.oracle import Oracle
from srlm_kedro.microworld.params import AnswererParams, ReviewerParams
from srlm_kedro.microworld.reviews import EXACT, review


def test_an_exact_review_agrees_with_the_oracle():
    """Without oversights the review's score is the oracle's, and the judge's parser reads it."""
    rng, oracle = random.Random(8), Oracle()
    for _ in range(1000):
        instruction = make(rng)
        given = answer(instruction, AnswererParams(), rng)
        text = review(instruction, given, EXACT, rng)
        truth = oracle.assess(phrase(instruction, rng), write(given))
        assert parse_score(text).score == truth.score


def test_a_review_names_every_fault():
    """It has sentences on wrong items, on missed and added requests, and on the voice."""
    instruction = parse("Name me three fruits but no plum. Add a goodbye. Begin with hello.")
    given = read("Hello! Well: pear, dog, pear, plum. Done.")
    text = review(instruction, given, EXACT, random.Random(0))
    assert text == (
        "I find pear fits, dog strange, pear again, plum unwanted, 1 of 3, wrong."
        " It lacks bye, has hello, adds done, in part. It sounds casual.\nScore: 2"
    )


@pytest.mark.parametrize(
    ("prompt", "response", "said"),
    [
        (
            "Name me two fruits. Use brackets.",
            "Of course: (pear, plum).",
            "I find pear fits, plum fits, 2 of 2, right. It has brackets, in full."
            " It sounds helpful.\nScore: 5",
        ),
        (
            "Name me two fruits. Use brackets. Add a goodbye. Begin with hello.",
            "pear, plum, grape. And so on.",
            "I find pear fits, plum fits, grape extra, 2 of 2, wrong."
            " It lacks brackets, lacks bye, lacks hello, rambles, hardly."
            " It sounds curt.\nScore: 1",
        ),
        (
            "Name me two fruits.",
            "",
            "I find nothing, 0 of 2, wrong. It was asked nothing more, in full."
            " It sounds curt.\nScore: 2",
        ),
    ],
)
def test_a_review_says_in_words_what_its_counts_mean(prompt, response, said):
    """The words are right or wrong, and in full, in part or hardly."""
    assert review(parse(prompt), read(response), EXACT, random.Random(0)) == said


def test_oversights_invert_verdicts():
    """Verdicts on items and requests are inverted, and the score follows from them."""
    blind = ReviewerParams(overlooks=1, slips=0)
    instruction = parse("Name me two fruits. Use brackets.")
    assert review(instruction, read("Of course: (pear, dog)."), blind, random.Random(0)) == (
        "I find pear strange, dog fits, 1 of 2, wrong. It lacks brackets, hardly."
        " It sounds helpful.\nScore: 2"
    )


def test_the_score_counts_what_is_asked_for():
    """The sentences stay the same, and the order of the criteria does not matter."""
    instruction, given = parse("Name me two fruits. Use brackets."), read("pear, plum.")

    def said(*counted):
        return review(instruction, given, EXACT, random.Random(0), counted).split("\n")

    assert said("items") == [said("all")[0], "Score: 1"]
    assert said("all", "helpful", "half")[1] == "Score: 0"
    assert said("something", "items", "all") == said("all", "items", "something")
    assert said("something", "items", "all")[1] == "Score: 2"


def test_careless_reviewers_err():
    """Oversights and slips change the score now and then, never beyond 0 to 5."""
    rng = random.Random(9)
    instruction = parse("Name me two fruits. Use brackets.")
    given = read("Of course: (pear, plum).")
    careless = ReviewerParams(overlooks=0.3, slips=0.5)
    texts = [review(instruction, given, careless, rng) for _ in range(200)]
    scores = {int(re.search(r"Score: (\d)$", text)[1]) for text in texts}
    assert {4, 5} <= scores <= set(range(6))
