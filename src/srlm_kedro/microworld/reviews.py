"""Reviews: sentences that name what is right and what is lacking, and then the score."""

import random
from dataclasses import dataclass, replace

from srlm_kedro.microworld.answers import Answer
from srlm_kedro.microworld.instructions import Instruction
from srlm_kedro.microworld.oracle import Facts, facts


@dataclass(frozen=True)
class Reviewer:
    """How careful a population of reviewers is; every figure is a probability."""

    overlooks: float = 0.02
    """A verdict on an item or a request is the wrong way round, each by itself."""
    slips: float = 0.04
    """The score is one off what the sentences say."""


EXACT = Reviewer(overlooks=0, slips=0)


def review(instruction: Instruction, answer: Answer, reviewer: Reviewer, rng: random.Random) -> str:
    """A justification in sentences, ending in a line such as `Score: 4`."""
    seen = _seen(facts(instruction, answer), reviewer, rng)
    score = sum(seen.points)
    if rng.random() < reviewer.slips:
        score = min(max(score + rng.choice((-1, 1)), 0), 5)
    sentences = [_items(answer, seen), _requests(instruction, seen), _voice(seen)]
    return f"{' '.join(sentences)}\nScore: {score}"


def _seen(true: Facts, reviewer: Reviewer, rng: random.Random) -> Facts:
    """The facts as the reviewer sees them."""

    def look(values: tuple[bool, ...]) -> tuple[bool, ...]:
        return tuple(value != (rng.random() < reviewer.overlooks) for value in values)

    return replace(true, verdicts=look(true.verdicts), kept=look(true.kept))


def _items(answer: Answer, seen: Facts) -> str:
    found = [
        f"{item} {'right' if right else 'wrong'}"
        for item, right in zip(answer.items, seen.verdicts, strict=True)
    ]
    missing = ["some missing"] if seen.missing else []
    return f"I find {', '.join([*found, *missing]) or 'nothing'}."


def _requests(instruction: Instruction, seen: Facts) -> str:
    pairs = zip(instruction.requests, seen.kept, strict=True)
    said = [f"{'has' if kept else 'lacks'} {request}" for request, kept in pairs]
    added = [f"adds {request}" for request in seen.added]
    rambles = ["rambles"] if seen.chatters else []
    return f"It {', '.join([*said, *added, *rambles]) or 'was asked nothing more'}."


def _voice(seen: Facts) -> str:
    return f"It sounds {seen.voice}."
