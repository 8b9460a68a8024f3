"""Reviews: sentences that name what is right and what is lacking, and then the score."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from srlm_kedro.microworld.answers import FITS, STRANGE, Answer
from srlm_kedro.microworld.instructions import Instruction
from srlm_kedro.microworld.oracle import Facts, facts

CRITERIA = ("something", "half", "items", "helpful", "all")
"""What a judge prompt calls the points, in the order of `Facts.points`."""
_HALF, _ITEMS, _ALL = 1, 2, 4
"""Places among `Facts.points`."""


@dataclass(frozen=True)
class Reviewer:
    """How careful a population of reviewers is; every figure is a probability."""

    overlooks: float = 0.02
    """A verdict on an item or a request is the wrong way round, each by itself."""
    slips: float = 0.04
    """The score is one off what the sentences say."""


EXACT = Reviewer(overlooks=0, slips=0)


def review(
    instruction: Instruction,
    answer: Answer,
    reviewer: Reviewer,
    rng: random.Random,
    counted: Sequence[str] = CRITERIA,
) -> str:
    """A justification in sentences, ending in a line such as `Score: 4`.

    Args:
        instruction: What was asked for.
        answer: What is reviewed.
        reviewer: Who reviews.
        rng: Decides where the reviewer errs.
        counted: Of `CRITERIA`; the sentences say everything, the score is of these.
    """
    seen = _seen(facts(instruction, answer), reviewer, rng)
    points = dict(zip(CRITERIA, seen.points, strict=True))
    score = sum(points[name] for name in counted)
    if rng.random() < reviewer.slips:
        score = min(max(score + rng.choice((-1, 1)), 0), 5)
    sentences = [_items(answer, seen), _requests(instruction, seen), _voice(seen)]
    return f"{' '.join(sentences)}\nScore: {score}"


def find_items(
    instruction: Instruction, answer: Answer, reviewer: Reviewer, rng: random.Random
) -> str:
    """A review's first sentence: what it finds of each item."""
    return _items(answer, _seen(facts(instruction, answer), reviewer, rng))


def find_requests(
    instruction: Instruction, answer: Answer, reviewer: Reviewer, rng: random.Random
) -> str:
    """A review's second sentence: which requests it finds followed."""
    return _requests(instruction, _seen(facts(instruction, answer), reviewer, rng))


def _seen(true: Facts, reviewer: Reviewer, rng: random.Random) -> Facts:
    """The facts as the reviewer sees them."""

    def errs() -> bool:
        return rng.random() < reviewer.overlooks

    marks = tuple((STRANGE if mark == FITS else FITS) if errs() else mark for mark in true.marks)
    return replace(true, marks=marks, kept=tuple(kept != errs() for kept in true.kept))


def _items(answer: Answer, seen: Facts) -> str:
    found = [f"{item} {mark}" for item, mark in zip(answer.items, seen.marks, strict=True)]
    verdict = "right" if seen.points[_ITEMS] else "wrong"
    return f"I find {', '.join(found) or 'nothing'}, {seen.fitting} of {seen.needed}, {verdict}."


def _requests(instruction: Instruction, seen: Facts) -> str:
    pairs = zip(instruction.requests, seen.kept, strict=True)
    said = [f"{'has' if kept else 'lacks'} {request}" for request, kept in pairs]
    added = [f"adds {request}" for request in seen.added]
    rambles = ["rambles"] if seen.chatters else []
    extent = "in full" if seen.points[_ALL] else "in part" if seen.points[_HALF] else "hardly"
    return f"It {', '.join([*said, *added, *rambles]) or 'was asked nothing more'}, {extent}."


def _voice(seen: Facts) -> str:
    return f"It sounds {seen.voice}."
