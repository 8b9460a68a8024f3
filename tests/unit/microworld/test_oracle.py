"""The oracle's score is additive, and each fault costs one point."""

import random

import pytest

from srlm_kedro.microworld.answers import PERFECT, answer, read, write
from srlm_kedro.microworld.instructions import make, parse, phrase
from srlm_kedro.microworld.oracle import Oracle
from srlm_kedro.microworld.params import AnswererParams

PROMPT = "Name me three fruits but no plum. Add a goodbye. Begin with hello."

SCORES = {
    "Hello! Of course: pear, lemon, peach. Goodbye.": 5,
    "Hello! Here you are: pear and lemon and peach. Goodbye.": 5,
    "Hello! Of course: pear, lemon, peach.": 4,
    "Of course: pear, lemon, peach. Goodbye.": 4,
    "Hello! Of course: pear, lemon, peach. Done. Goodbye.": 4,
    "Hello! Of course: pear, lemon, peach. Goodbye. And so on.": 4,
    "Hello! Of course: pear, lemon, peach Goodbye.": 4,
    "Hello! Of course: pear, dog, lemon. Goodbye.": 4,
    "Hello! Of course: pear, lemon. Goodbye.": 4,
    "Hello! Of course: pear, lemon, peach, peach. Goodbye.": 4,
    "Hello! Well: pear, lemon, peach. Goodbye.": 4,
    "Of course: pear, lemon, peach.": 3,
    "Hello! Yeah: pear, dog, lemon": 2,
    "pear, lemon, peach": 2,
    "rose": 0,
    "": 0,
    "Score: 5": 0,
}


@pytest.mark.parametrize(("response", "score"), SCORES.items())
def test_scores(response, score):
    """Each of the five criteria gives a point or not, independently of the others."""
    assessment = Oracle().assess(PROMPT, response)
    assert assessment.score == score
    assert len(assessment.reasons) == 5


def test_faults_are_told_apart():
    """Items, requests, voice and extras are reported separately."""
    oracle = Oracle()
    items = oracle.assess(PROMPT, "Hello! Of course: pear, dog, lemon. Goodbye.")
    request = oracle.assess(PROMPT, "Of course: pear, lemon, peach. Goodbye.")
    voice = oracle.assess(PROMPT, "Hello! Yeah: pear, lemon, peach. Goodbye.")
    extras = oracle.assess(PROMPT, "Hello! Of course: (pear, lemon, peach). Goodbye.")
    found = [
        (one.items_wrong, one.constraints_missed, one.voice_missed, one.extras)
        for one in (items, request, voice, extras)
    ]
    assert found == [
        (True, 0, False, False),
        (False, 0.5, False, False),
        (False, 0, True, False),
        (False, 0, False, True),
    ]


def test_joining_by_and_needs_two_items():
    """A single item cannot follow the request to join."""
    prompt = "Name me two fruits. Join them by and."
    assert Oracle().assess(prompt, "Of course: apple.").constraints_missed == 1


def test_several_right_answers_are_right():
    """If the task leaves a choice, any words of the category are right, each of them once."""
    oracle = Oracle()
    prompt = "Name me two fruits and two birds."
    assert oracle.assess(prompt, "Of course: pear, plum, owl, robin.").score == 5
    assert oracle.assess(prompt, "Of course: pear, pear, owl, robin.").items_wrong
    assert oracle.assess(prompt, "Of course: pear, plum, grape, robin.").items_wrong


def test_the_words_of_the_task_count():
    """They are a word that must not occur, a word that must come first, or words to repeat."""
    oracle = Oracle()
    wrong = {
        "Name me two fruits but no plum.": "Of course: pear, plum.",
        "Name me two fruits with plum first.": "Of course: pear, plum.",
        "Repeat the words oak, swan.": "Of course: oak, dog.",
    }
    right = dict(zip(wrong, ("pear, grape", "plum, pear", "swan, oak"), strict=True))
    for prompt, response in wrong.items():
        assert oracle.assess(prompt, response).items_wrong
        assert oracle.assess(prompt, f"Of course: {right[prompt]}.").score == 5
    twice = "Repeat the words oak, oak, pear."
    assert oracle.assess(twice, "Of course: oak, pear, oak.").score == 5
    assert oracle.assess(twice, "Of course: oak, pear, pear.").items_wrong


def test_perfect_answers_get_five():
    """An answer without mistakes gets the full score for every instruction."""
    rng, oracle = random.Random(5), Oracle()
    for number in range(1000):
        instruction = make(rng, held_out=number % 2 == 0)
        text = write(answer(instruction, PERFECT, rng))
        assert oracle.assess(phrase(instruction, rng), text).score == 5


def test_answers_are_read_back():
    """`read` undoes `write`, also for flawed answers."""
    rng = random.Random(6)
    for _ in range(2000):
        made = answer(make(rng), AnswererParams(), rng)
        assert read(write(made)) == made


def test_any_text_can_be_read():
    """The oracle scores every text."""
    rng, oracle = random.Random(7), Oracle()
    pieces = [
        "(",
        ")",
        ",",
        ".",
        "and",
        "pear",
        "dog",
        "Hello!",
        "Goodbye.",
        ":",
        "Done.",
        "\n",
        "zzz",
    ]
    for _ in range(2000):
        text = " ".join(rng.choices(pieces, k=rng.randrange(12)))
        assert 0 <= oracle.assess(PROMPT, text).score <= 5


def test_prompts_of_other_worlds_are_refused():
    """A prompt outside the grammar has no true score; the message says what to do."""
    oracle = Oracle()
    assert not oracle.understands("Write a poem about the sea.")
    assert oracle.understands(PROMPT)
    with pytest.raises(ValueError, match="understands"):
        oracle.assess("Write a poem about the sea.", "Sea!")


def test_many_responses_are_assessed_like_one():
    """All at once give the same assessments in the same order."""
    pairs = [(PROMPT, response) for response in SCORES]
    assert [one.score for one in Oracle().assess_all(pairs)] == list(SCORES.values())
    assert Oracle().assess_all(pairs)[3] == Oracle().assess(*pairs[3])


def test_kind_names_family_and_requests():
    """The kind of a prompt does not depend on its words."""
    assert Oracle().kind(PROMPT) == "without+bye+hello"
    assert parse(PROMPT).kind == "without+bye+hello"
    assert Oracle().kind("Write a poem.") is None
