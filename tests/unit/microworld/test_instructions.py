"""The grammar of the world can be parsed."""

import random

import pytest

from srlm_kedro.microworld.instructions import HELD_OUT, REQUESTS, TASKS, make, parse, phrase

FORBIDDEN = ("image", "graph", "picture", "file", "map", "draw", "plot", "go to")


@pytest.mark.parametrize("held_out", [False, True])
def test_every_phrase_is_read_back(held_out):
    """`parse` undoes `phrase`, whatever the wording and the order of the sentences."""
    rng = random.Random(1)
    for _ in range(2000):
        instruction = make(rng, held_out)
        assert parse(phrase(instruction, rng)) == instruction


def test_all_families_and_requests_occur():
    """Random instructions cover every family and every request, and both sides of `HELD_OUT`."""
    rng = random.Random(2)
    made = [make(rng, held_out) for _ in range(500) for held_out in (False, True)]
    assert {one.family for one in made} == set(TASKS)
    assert {request for one in made for request in one.requests} == set(REQUESTS)
    assert sum(one.held_out for one in made) == 500


def test_training_never_sees_held_out_combinations():
    """An instruction for training has none of the combinations kept for evaluation."""
    rng = random.Random(3)
    made = [make(rng) for _ in range(2000)]
    assert not any((one.family, request) in HELD_OUT for one in made for request in one.requests)


def test_instructions_pass_the_filters_of_self_instruct():
    """No wording has three words or fewer, or a word that the prompt filters refuse."""
    rng = random.Random(4)
    for _ in range(2000):
        text = phrase(make(rng), rng)
        assert len(text.split()) > 3
        assert not any(word in text.lower().split() for word in FORBIDDEN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Tell me a joke.",
        "Begin with hello.",
        "Name me three fruits",
        "Name me three fruits. Name me two birds.",
        "Name me three fruits. Use brackets. Use brackets.",
        "Repeat the words 3, 4.",
        "Name me two fruits without dog.",
        "Name me nine fruits.",
    ],
)
def test_other_texts_are_no_instructions(text):
    """A text outside the grammar gives None, never a guess."""
    assert parse(text) is None
