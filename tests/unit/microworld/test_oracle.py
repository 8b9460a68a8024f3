"""The oracle's score is additive, and each fault costs its own point."""

import random

import pytest

from srlm_kedro.microworld.answers import PERFECT, Habits, answer, read, write
from srlm_kedro.microworld.instructions import make, parse, phrase
from srlm_kedro.microworld.oracle import Oracle

PROMPT = "Say dog, oak, tea backwards. Add a goodbye. Begin with hello."

SCORES = {
    "Hello! Of course: tea, oak, dog. Goodbye.": 5,
    "Hello! Here you are: tea and oak and dog. Goodbye.": 5,
    "Hello! Of course: tea, oak, dog.": 4,
    "Of course: tea, oak, dog. Goodbye.": 4,
    "Hello! Of course: tea, oak, dog. Done. Goodbye.": 4,
    "Hello! Of course: tea, oak, dog. Goodbye. And so on.": 4,
    "Hello! Of course: tea, oak, dog Goodbye.": 4,
    "Hello! Of course: tea, dog, oak. Goodbye.": 4,
    "Hello! Of course: tea, oak. Goodbye.": 4,
    "Hello! Of course: tea, oak, dog, dog. Goodbye.": 4,
    "Hello! Well: tea, oak, dog. Goodbye.": 4,
    "Of course: tea, oak, dog.": 3,
    "Hello! Yeah: tea, dog, oak": 2,
    "tea, oak, dog": 2,
    "rose": 0,
    "": 0,
    "Score: 5": 0,
}


@pytest.mark.parametrize(("response", "score"), SCORES.items())
def test_scores(response, score):
    """Each of the five criteria gives a point or does not, apart from the others."""
    assessment = Oracle().assess(PROMPT, response)
    assert assessment.score == score
    assert len(assessment.reasons) == 5


def test_faults_are_told_apart():
    """Items, requests, voice and extras are reported each by itself."""
    oracle = Oracle()
    items = oracle.assess(PROMPT, "Hello! Of course: tea, dog, oak. Goodbye.")
    request = oracle.assess(PROMPT, "Of course: tea, oak, dog. Goodbye.")
    voice = oracle.assess(PROMPT, "Hello! Yeah: tea, oak, dog. Goodbye.")
    extras = oracle.assess(PROMPT, "Hello! Of course: (tea, oak, dog). Goodbye.")
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
    prompt = "Pick the fruits from apple, dog. Join them by and."
    assert Oracle().assess(prompt, "Of course: apple.").constraints_missed == 1


def test_several_right_answers_are_right():
    """Where the task leaves a choice, any words of the category are right, once each."""
    oracle = Oracle()
    prompt = "Name me two fruits and two birds."
    assert oracle.assess(prompt, "Of course: pear, plum, owl, hen.").score == 5
    assert oracle.assess(prompt, "Of course: pear, pear, owl, hen.").items_wrong
    assert oracle.assess(prompt, "Of course: owl, hen, pear, plum.").items_wrong


def test_perfect_answers_get_five():
    """Whoever makes no mistake gets the full score for every instruction."""
    rng, oracle = random.Random(5), Oracle()
    for number in range(1000):
        instruction = make(rng, held_out=number % 2 == 0)
        text = write(answer(instruction, PERFECT, rng))
        assert oracle.assess(phrase(instruction, rng), text).score == 5


def test_answers_are_read_back():
    """`read` undoes `write`, flaws included."""
    rng = random.Random(6)
    for _ in range(2000):
        made = answer(make(rng), Habits(), rng)
        assert read(write(made)) == made


def test_any_text_can_be_read():
    """The oracle scores every text, however strange."""
    rng, oracle = random.Random(7), Oracle()
    pieces = [
        "(",
        ")",
        ",",
        ".",
        "and",
        "dog",
        "7",
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
    """As a referee it is asked for all at once, and says the same in the same order."""
    pairs = [(PROMPT, response) for response in SCORES]
    assert [one.score for one in Oracle().assess_all(pairs)] == list(SCORES.values())
    assert Oracle().assess_all(pairs)[3] == Oracle().assess(*pairs[3])


def test_kind_names_family_and_requests():
    """The kind of a prompt is free of its words."""
    assert Oracle().kind(PROMPT) == "reverse+bye+hello"
    assert parse(PROMPT).kind == "reverse+bye+hello"
    assert Oracle().kind("Write a poem.") is None
