"""The kinds of constraints: how a person words one, and the yes/no question that judges it.

A sentence is read back by its wording: `read(word(constraint)) == constraint`, whatever the word,
number or phrase. A model that writes instructions of its own can so use words that are not ours.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from srlm_kedro.verifiable.topics import COMMON_WORDS, OPENINGS, WORDS


@dataclass(frozen=True)
class Constraint:
    """One demand on the form or content of a response."""

    kind: str
    """A key of `KINDS`."""
    value: str = ""
    """The word, phrase or number; empty for a kind that has none."""


@dataclass(frozen=True)
class Kind:
    """A kind of constraint."""

    wordings: tuple[str, ...]
    """Sentences of an instruction; `{value}` is the place of the word, phrase or number."""
    question: str
    """What is asked about a response, in the positive: whether something is there."""
    wanted: bool
    """The answer of a response that meets the constraint: yes or no."""
    draw: Callable[[random.Random], str]
    """A random value."""
    group: str
    """An instruction has at most one constraint of a group, so that none contradicts another."""


def _one_of(values: tuple[str, ...]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


def _number(*values: int) -> Callable[[random.Random], str]:
    return _one_of(tuple(map(str, values)))


def _nothing(rng: random.Random) -> str:
    return ""


KINDS: Mapping[str, Kind] = {
    "include": Kind(
        (
            'Include the word "{value}".',
            'Use the word "{value}" somewhere.',
            'Please mention the word "{value}".',
        ),
        'Does the response contain the word "{value}"?',
        True,
        _one_of(WORDS),
        "word",
    ),
    "avoid": Kind(
        (
            'Do not use the word "{value}".',
            'Avoid the word "{value}".',
            'Leave out the word "{value}".',
        ),
        'Does the response contain the word "{value}"?',
        False,
        _one_of(COMMON_WORDS),
        "avoided word",
    ),
    "start": Kind(
        (
            'Begin with the words "{value}".',
            'Start your answer with "{value}".',
            'The first words must be "{value}".',
        ),
        'Does the response begin with "{value}"?',
        True,
        _one_of(OPENINGS),
        "start",
    ),
    "bullets": Kind(
        (
            "Answer in exactly {value} bullet points that begin with *.",
            "Write exactly {value} bullet points, each with a * in front.",
            "Make a list of exactly {value} bullet points, marked by *.",
            "Write exactly {value} bullet points, marked by *.",
        ),
        "Does the response have exactly {value} bullet points?",
        True,
        _number(2, 3, 4, 5),
        "form",
    ),
    "short": Kind(
        (
            "Use fewer than {value} words.",
            "Stay below {value} words.",
            "Keep it under {value} words.",
        ),
        "Is the response shorter than {value} words?",
        True,
        _number(30, 40, 50, 60, 70),
        "length",
    ),
    "no_commas": Kind(
        (
            "Do not use any commas.",
            "Write without commas.",
            "Avoid commas.",
            "Use no commas.",
            "Do not use commas.",
        ),
        "Does the response contain a comma?",
        False,
        _nothing,
        "commas",
    ),
    "postscript": Kind(
        (
            "Add a postscript that begins with P.S.",
            "Close with a P.S.",
            "At the end add a P.S.",
            "Finish with a P.S.",
            "End with a P.S.",
        ),
        "Does the response have a postscript that begins with P.S.?",
        True,
        _nothing,
        "end",
    ),
}
"""The kinds of seed data, of new prompts and of most held-out prompts."""

UNSEEN_KINDS: Mapping[str, Kind] = {
    "long": Kind(
        ("Use at least {value} words.", "Write {value} words or more."),
        "Does the response have at least {value} words?",
        True,
        _number(60, 70, 80, 90),
        "length",
    ),
    "twice": Kind(
        ('Use the word "{value}" at least twice.', 'Say "{value}" two times or more.'),
        'Does the response contain the word "{value}" at least twice?',
        True,
        _one_of(WORDS),
        "word",
    ),
    "title": Kind(
        (
            "Give it a title in double angular brackets such as <<title>>.",
            "Put a title in double angular brackets, such as <<my title>>, above it.",
        ),
        "Does the response have a title in double angular brackets?",
        True,
        _nothing,
        "start",
    ),
}
"""Kinds of held-out prompts only."""

ALL_KINDS: Mapping[str, Kind] = {**KINDS, **UNSEEN_KINDS}


def word(constraint: Constraint, rng: random.Random) -> str:
    """The constraint as a sentence, in a random wording."""
    return rng.choice(ALL_KINDS[constraint.kind].wordings).format(value=constraint.value)


def question(constraint: Constraint) -> str:
    """The yes/no question about a response."""
    return ALL_KINDS[constraint.kind].question.format(value=constraint.value)


_NUMERIC = {"bullets", "short", "long"}


def _pattern(kind: str, wording: str) -> re.Pattern[str]:
    value = r"(?P<value>\d{1,4})" if kind in _NUMERIC else r"(?P<value>[\w' -]{1,40}?)"
    return re.compile(re.escape(wording).replace(r"\{value\}", value))


_PATTERNS = [
    (kind, _pattern(kind, wording)) for kind, each in ALL_KINDS.items() for wording in each.wordings
]


def read(text: str) -> list[tuple[int, int, Constraint]]:
    """The constraints in a text, in their order, each with the place of its sentence."""
    found = [
        (match.start(), match.end(), Constraint(kind, match.groupdict().get("value", "")))
        for kind, pattern in _PATTERNS
        for match in pattern.finditer(text)
    ]
    kept: list[tuple[int, int, Constraint]] = []
    # Of two that overlap, the longer one: `at least twice` and not the word alone.
    for each in sorted(found, key=lambda item: (item[0], item[0] - item[1])):
        if not kept or each[0] >= kept[-1][1]:
            kept.append(each)
    return kept
