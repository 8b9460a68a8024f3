"""Instructions: what is worded is read back, and nothing in one contradicts another."""

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.verifiable.constraints import (
    ALL_KINDS,
    KINDS,
    UNSEEN_KINDS,
    Constraint,
    question,
    read,
    word,
)
from srlm_kedro.verifiable.instructions import contradicts, has_unknown_demand, make, parse
from srlm_kedro.verifiable.topics import TOPICS, UNSEEN_TOPICS

NUMERIC = ("bullets", "short", "long")
QUOTED = ("include", "avoid", "start", "twice")
WORDS = st.text(string.ascii_letters + "'-", min_size=1, max_size=12)
PHRASES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


def values(kind: str):
    """Any word, phrase or number that a person may put into a constraint of a kind."""
    if kind in NUMERIC:
        return st.integers(1, 9999).map(str)
    return PHRASES if kind in QUOTED else st.just("")


CONSTRAINTS = st.sampled_from(sorted(ALL_KINDS)).flatmap(
    lambda kind: values(kind).map(lambda value: Constraint(kind, value))
)


@given(CONSTRAINTS, st.randoms(use_true_random=False))
def test_a_worded_constraint_is_read_back(constraint, rng):
    """Whatever the wording, and whatever the word, phrase or number."""
    assert [found for *_, found in read(word(constraint, rng))] == [constraint]


@given(st.lists(CONSTRAINTS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_constraints_are_read_in_their_order(constraints, rng):
    """Each with the place of its own sentence."""
    sentences = [word(each, rng) for each in constraints]
    text = " ".join(["Tell me something about tea.", *sentences])
    found = read(text)
    assert [constraint for *_, constraint in found] == constraints
    assert [text[start:end] for start, end, _ in found] == sentences


@given(st.integers(0, 10**9))
def test_an_instruction_is_read_back(seed):
    """`parse` gives the constraints that `make` worded, for seen and unseen kinds."""
    rng = random.Random(seed)
    for made in (make(rng), make(rng, UNSEEN_TOPICS), make(rng, TOPICS, ALL_KINDS, UNSEEN_KINDS)):
        assert parse(made.text) == made
        assert made.kind == "+".join(sorted(each.kind for each in made.constraints))


def test_no_instruction_contradicts_itself():
    """One constraint of a group, and no word that is wanted and forbidden: an answer cannot begin
    with `Good news` and avoid `good`.
    """
    rng = random.Random(0)
    made = [make(rng, TOPICS, ALL_KINDS) for _ in range(30_000)]
    assert not [each.text for each in made if contradicts(each.constraints)]
    assert not [each.text for each in made if has_unknown_demand(each.text)]
    assert {len(each.constraints) for each in made} == {1, 2, 3}
    good_news = Constraint("start", "Good news")
    assert contradicts([good_news, Constraint("avoid", "good")])
    assert contradicts([good_news, Constraint("title")])
    assert not contradicts([good_news, Constraint("avoid", "goods")])
    assert any(good_news in each.constraints for each in made)


def test_needed_kinds_are_there():
    """An instruction of an unseen kind has at least one."""
    rng = random.Random(0)
    for _ in range(200):
        made = make(rng, TOPICS, ALL_KINDS, UNSEEN_KINDS)
        assert any(each.kind in UNSEEN_KINDS for each in made.constraints)


def test_what_is_unseen_occurs_nowhere_else():
    """Topics by their text, kinds by their name and by each of their wordings."""
    assert not set(TOPICS) & set(UNSEEN_TOPICS)
    assert not set(KINDS) & set(UNSEEN_KINDS)
    wordings = [each for kind in ALL_KINDS.values() for each in kind.wordings]
    assert len(set(wordings)) == len(wordings)


@pytest.mark.parametrize(
    "text",
    [
        "Tell me something about commas.",
        "Use the word wisely.",
        'Say "hello" to everyone.',
        "Write a short paragraph of about 50 words.",
        'Include the word "a,b".',
        "",
    ],
)
def test_other_texts_have_no_constraints(text):
    """What only resembles a constraint is none."""
    assert parse(text) is None


def test_a_longer_constraint_is_not_taken_for_a_shorter_one():
    """`at least twice` holds no `include`."""
    text = 'Use the word "tea" at least twice. Use the word "milk" somewhere.'
    assert parse(text).constraints == (Constraint("twice", "tea"), Constraint("include", "milk"))


@given(CONSTRAINTS)
def test_a_question_names_the_value(constraint):
    """A judge that is asked one question at a time sees nothing else of the constraint."""
    asked = question(constraint)
    assert asked.endswith("?")
    assert constraint.value in asked
