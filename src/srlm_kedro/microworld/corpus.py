"""The pretraining corpus of this world: answers of mixed quality, checks, reviews and tasks."""

import random
import re
from collections.abc import Callable, Iterator, Sequence

from srlm_kedro.microworld.answers import Answer, answer, write
from srlm_kedro.microworld.instructions import WORDS, Instruction, make, phrase
from srlm_kedro.microworld.params import AnswererParams, CorpusParams, ReviewerParams
from srlm_kedro.microworld.reviews import CRITERIA, find_items, find_requests, review

USER, ASSISTANT, END = "<user>", "<assistant>", "<eos>"
"""The marks of turns, as the tokenizer's chat template writes them."""

_COUNTED = re.compile(r"\b({0})(, ({0}))+\b".format("|".join(CRITERIA)))
"""The list of criteria in a judge prompt."""

Segments = list[tuple[str, bool]]
"""The texts of a document, each with whether the model learns to write it."""


def corpus(
    mixture: CorpusParams,
    judge_prompt: str,
    few_shot_prompt: str,
    rng: random.Random,
    excluded: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, Segments]]:
    """The documents with their kinds, in the order of training.

    Args:
        mixture: How many documents of each kind there are, and who writes them.
        judge_prompt: Template with `{instruction}` and `{response}`.
        few_shot_prompt: Template with `{tasks}`.
        rng: Decides everything.
        excluded: Prompts that no document may have.
    """
    habits, reviewer = mixture.answerers, mixture.reviewers
    reviewed_quality = {"right": mixture.reviewed_right, "slips": mixture.reviewed_slips}
    doubtful = habits.model_copy(update=reviewed_quality)

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


def answered(
    prompt: str, instruction: Instruction, habits: AnswererParams, rng: random.Random
) -> Segments:
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
    habits: AnswererParams,
    reviewer: ReviewerParams,
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
    habits: AnswererParams,
    reviewer: ReviewerParams,
    rng: random.Random,
    find: Callable[[Instruction, Answer, ReviewerParams, random.Random], str],
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
