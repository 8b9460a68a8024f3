"""Instructions: a task about a topic, and one to three constraints; made, worded and read."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from srlm_kedro.verifiable.constraints import ALL_KINDS, KINDS, Constraint, Kind, read, word
from srlm_kedro.verifiable.topics import TASKS, TOPICS

_COUNTS, _WEIGHTS = (1, 2, 3), (0.35, 0.4, 0.25)
_DEMAND = re.compile(r'"|<<|\b(?:P\.S\.|commas?\b|bullets?\b|(?<!\bown )words?\b)', re.IGNORECASE)
"""Marks a demand on the form in a text without its known constraints."""


@dataclass(frozen=True)
class Instruction:
    """What a user types, and the constraints in it."""

    text: str
    constraints: tuple[Constraint, ...]

    @property
    def kind(self) -> str:
        """The kinds of its constraints, such as `avoid+bullets`."""
        return "+".join(sorted({each.kind for each in self.constraints}))


def make(
    rng: random.Random,
    topics: Sequence[str] = TOPICS,
    kinds: Mapping[str, Kind] = KINDS,
    needed: Mapping[str, Kind] | None = None,
) -> Instruction:
    """A random instruction.

    Args:
        rng: The source of all random choices.
        topics: One of them is its topic.
        kinds: Its constraints are of these kinds, each of another group.
        needed: At least one constraint is of these kinds; None: any kind will do.
    """
    count = rng.choices(_COUNTS, _WEIGHTS)[0]
    names = list(kinds)
    while True:
        drawn = rng.sample(names, min(count, len(names)))
        groups = {ALL_KINDS[name].group for name in drawn}
        if len(groups) == len(drawn) and (needed is None or set(drawn) & set(needed)):
            break
    constraints = tuple(Constraint(name, ALL_KINDS[name].draw(rng)) for name in drawn)
    if contradicts(constraints):
        return make(rng, topics, kinds, needed)
    task = rng.choice(TASKS).format(topic=rng.choice(topics))
    text = " ".join([task, *(word(each, rng) for each in constraints)])
    return Instruction(text, constraints)


def parse(text: str) -> Instruction | None:
    """The instruction that a text expresses; None if no constraint of a known kind is in it.

    A constraint that the text repeats counts once.
    """
    constraints = tuple(dict.fromkeys(constraint for _, _, constraint in read(text)))
    return Instruction(text, constraints) if constraints else None


def contradicts(constraints: Sequence[Constraint]) -> bool:
    """Whether two constraints are of one group, or one wants a word that another forbids.

    `good` and a start with `Good news` contradict each other.
    """
    groups = [ALL_KINDS[each.kind].group for each in constraints]
    forbidden = {each.value.lower() for each in constraints if each.kind == "avoid"}
    wanted = [each.value.lower().split() for each in constraints if each.kind != "avoid"]
    twice = len(set(groups)) < len(groups)
    return twice or any(forbidden.intersection(words) for words in wanted)


def has_unknown_demand(text: str) -> bool:
    """Whether a demand on the form is left when the known constraints are taken out of a text."""
    rest, last = [], 0
    for first, end, _ in read(text):
        rest.append(text[last:first])
        last = end
    return _DEMAND.search(" ".join([*rest, text[last:]])) is not None
