"""The pretraining corpus of this world: answers of mixed quality, checks, reviews and tasks."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from srlm_kedro.microworld.answers import Answer, Habits, answer, write
from srlm_kedro.microworld.instructions import WORDS, Instruction, make, phrase
from srlm_kedro.microworld.reviews import CRITERIA, Reviewer, find_items, find_requests, review

USER, ASSISTANT, END = "<user>", "<assistant>", "<eos>"
"""The marks of turns, as the tokenizer's chat template writes them."""

_COUNTED = re.compile(r"\b({0})(, ({0}))+\b".format("|".join(CRITERIA)))
"""The list of criteria in a judge prompt."""

Segments = list[tuple[str, bool]]
"""The texts of a document, each with whether the model learns to write it."""


@dataclass(frozen=True)
class Mixture:
    """How many documents of each kind there are, and who writes them."""

    documents: int
    reviews: float
    """Share of reviews, with the judge prompt, of the documents after the opening that are neither
    drills nor checks."""
    tasks: float
    """Share of task lists, with the few-shot prompt, of the same documents."""
    checks: float
    """Share of checks (one sentence of a review) after the opening."""
    drills: float
    """Share of drills (a few words and their repetition) after the opening."""
    opening: float
    """Share of the corpus, at its start, that has only drills, checks and answers."""
    opening_drills: float
    """Share of drills in the opening: the model learns to copy first."""
    opening_checks: float
    """Share of checks in the opening."""
    checked_requests: tuple[float, float]
    """Share of checks of the requests instead of the items, in the opening and after it."""
    list_length: int
    """Tasks in a list: the demonstrations and one more."""
    reviewed_right: float
    """Probability that all items of a reviewed response are right before slips: it is lower because
    people review what is doubtful."""
    reviewed_slips: float
    """Probability that an item of a reviewed response is replaced, for each item separately."""
    reviewed_in_full: float
    """Share of reviews that count the criteria that the judge prompt lists. Other reviews count a
    random choice of `CRITERIA`, in random order."""


def corpus(
    mixture: Mixture,
    habits: Habits,
    reviewer: Reviewer,
    judge_prompt: str,
    few_shot_prompt: str,
    rng: random.Random,
    excluded: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, Segments]]:
    """The documents with their kinds, in the order of training.

    Args:
        mixture: How many documents of each kind there are.
        habits: How well people answer.
        reviewer: How carefully people review.
        judge_prompt: Template with `{instruction}` and `{response}`.
        few_shot_prompt: Template with `{tasks}`.
        rng: Decides everything.
        excluded: Prompts that no document may have.
    """
    doubtful = replace(habits, right=mixture.reviewed_right, slips=mixture.reviewed_slips)

    def ask() -> tuple[str, Instruction]:
        while True:
            instruction = make(rng)
            text = phrase(instruction, rng)
            if text not in excluded:
                return text, instruction

    for number in range(mixture.documents):
        opening = number < mixture.opening * mixture.documents
        drills = mixture.opening_drills if opening else mixture.drills
        checks = mixture.opening_checks if opening else mixture.checks
        chance = rng.random()
        if chance < drills:
            yield "drill", drill(rng)
            continue
        if chance < drills + checks:
            on_requests = rng.random() < mixture.checked_requests[not opening]
            find = find_requests if on_requests else find_items
            yield "check", checked(*ask(), doubtful, reviewer, rng, find)
            continue
        if opening:
            yield "answer", answered(*ask(), habits, rng)
            continue
        chance = rng.random()
        if chance < mixture.reviews:
            shown, counted = counting(judge_prompt, mixture.reviewed_in_full, rng)
            yield "review", reviewed(*ask(), shown, doubtful, reviewer, rng, counted)
        elif chance < mixture.reviews + mixture.tasks:
            tasks = [ask()[0] for _ in range(mixture.list_length)]
            yield "tasks", task_list(tasks, few_shot_prompt)
        else:
            yield "answer", answered(*ask(), habits, rng)


def answered(prompt: str, instruction: Instruction, habits: Habits, rng: random.Random) -> Segments:
    """An instruction and an answer, as one conversation."""
    text = write(answer(instruction, habits, rng))
    return [(USER, False), (prompt, False), (ASSISTANT, False), (text + END, True)]


def counting(judge_prompt: str, in_full: float, rng: random.Random) -> tuple[str, Sequence[str]]:
    """The judge prompt and the criteria that it counts: those that it lists, or others instead.

    The score can be predicted only by reading the list. A prompt without a list stays as it is,
    and all criteria count.
    """
    listed = _COUNTED.search(judge_prompt)
    if not listed:
        return judge_prompt, CRITERIA
    if rng.random() < in_full:
        return judge_prompt, listed[0].split(", ")
    counted = rng.sample(CRITERIA, rng.randint(1, len(CRITERIA)))
    start, end = listed.span()
    return judge_prompt[:start] + ", ".join(counted) + judge_prompt[end:], counted


def reviewed(
    prompt: str,
    instruction: Instruction,
    judge_prompt: str,
    habits: Habits,
    reviewer: Reviewer,
    rng: random.Random,
    counted: Sequence[str] = CRITERIA,
) -> Segments:
    """A filled judge prompt and a review."""
    given = answer(instruction, habits, rng)
    before, rest = judge_prompt.split("{instruction}")
    between, after = rest.split("{response}")
    return [
        (USER + before, False),
        (prompt, False),
        (between, False),
        (write(given), False),
        (after + ASSISTANT, False),
        (review(instruction, given, reviewer, rng, counted) + END, True),
    ]


def checked(
    prompt: str,
    instruction: Instruction,
    habits: Habits,
    reviewer: Reviewer,
    rng: random.Random,
    find: Callable[[Instruction, Answer, Reviewer, random.Random], str],
) -> Segments:
    """A response and one sentence of a review of it."""
    given = answer(instruction, habits, rng)
    text = f"Instruction: {prompt}\n\nResponse: {write(given)}\n\n"
    return [(text, False), (find(instruction, given, reviewer, rng) + END, True)]


def task_list(tasks: list[str], few_shot_prompt: str) -> Segments:
    """The few-shot prompt with all tasks but the last as demonstrations, and then the last task."""
    demonstrations = "\n".join(f"Task: {task}" for task in tasks[:-1])
    before, after = few_shot_prompt.rstrip().split("{tasks}")
    return [
        (before, False),
        (demonstrations, True),
        (after, False),
        (f" {tasks[-1]}\n", True),
    ]


def drill(rng: random.Random) -> Segments:
    """A few words, and the same words again."""
    words = ", ".join(rng.sample(WORDS, rng.randint(4, 8)))
    return [(f"{words}.", False), (f"{words}.", True)]
