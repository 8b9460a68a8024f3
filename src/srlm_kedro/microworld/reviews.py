"""Writes reviews: sentences on what is right and what is wrong, and then the score."""

import random
from collections.abc import Sequence
from dataclasses import replace

from srlm_kedro.microworld.answers import FITS, STRANGE, Answer
from srlm_kedro.microworld.instructions import Instruction
from srlm_kedro.microworld.oracle import Facts, facts
from srlm_kedro.microworld.params import ReviewerParams

CRITERIA = ("something", "half", "items", "helpful", "all")
"""The names of the points in a judge prompt, in the order of `Facts.points`."""
_HALF, _ITEMS, _ALL = 1, 2, 4
"""Positions in `Facts.points`."""


EXACT = ReviewerParams(overlooks=0, slips=0)


def review(
    instruction: Instruction,
    answer: Answer,
    reviewer: ReviewerParams,
    rng: random.Random,
    counted: Sequence[str] = CRITERIA,
) -> str:
    """A justification in sentences that ends in a line such as `Score: 4`.

    Args:
        instruction: What was asked for.
        answer: The answer that is reviewed.
        reviewer: How careful the reviewer is.
        rng: Decides where the reviewer errs.
        counted: Which of `CRITERIA` the score counts; the sentences always cover all of them.
    """
    seen = _seen(facts(instruction, answer), reviewer, rng)
    points = dict(zip(CRITERIA, seen.points, strict=True))
    score = sum(points[name] for name in counted)
    if rng.random() < reviewer.slips:
        score = min(max(score + rng.choice((-1, 1)), 0), 5)
    sentences = [_items(answer, seen), _requests(instruction, seen), _voice(seen)]
    return f"{' '.join(sentences)}\nScore: {score}"


def find_items(
    instruction: Instruction, answer: Answer, reviewer: ReviewerParams, rng: random.Random
) -> str:
    """The first sentence of a review: the verdict on each item."""
    return _items(answer, _seen(facts(instruction, answer), reviewer, rng))


def find_requests(
    instruction: Instruction, answer: Answer, reviewer: ReviewerParams, rng: random.Random
) -> str:
    """The second sentence of a review: which requests were followed."""
    return _requests(instruction, _seen(facts(instruction, answer), reviewer, rng))


def _seen(true: Facts, reviewer: ReviewerParams, rng: random.Random) -> Facts:
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
    verdicts = [f"{'has' if kept else 'lacks'} {request}" for request, kept in pairs]
    added = [f"adds {request}" for request in seen.added]
    rambles = ["rambles"] if seen.chatters else []
    extent = "in full" if seen.points[_ALL] else "in part" if seen.points[_HALF] else "hardly"
    return f"It {', '.join([*verdicts, *added, *rambles]) or 'was asked nothing more'}, {extent}."


def _voice(seen: Facts) -> str:
    return f"It sounds {seen.voice}."
