"""The additive judge asked one criterion at a time, each answer read as a probability.

The worded form asks for a justification and a score, which a small model cannot write. Here each
point of the rubric is a yes/no question of its own, and the judge writes nothing: its probability
of `Yes` as the first token is the point. The score is the sum of the points on the paper's scale.

Deviation: the paper's judge writes a text (section 2.2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.prompt import (
    INSTRUCTION,
    RESPONSE,
    fill,
    fill_judge_prompt,
    placeholder_faults,
)
from srlm_kedro.records import Checkpoint, Criterion, PromptFault

CRITERION = "{criterion}"
COLUMNS = ["criteria", "wanted", "log_yes", "log_no"]
"""What judgements by criteria have besides the columns of all judgements, as lists: the question of
each criterion, whether `yes` gives its point, and the log-probabilities of both answers."""
_FULL = 5.0


@dataclass(frozen=True)
class Answers:
    """How the two answers are spelt; the first spelling of each is what examples are trained on."""

    yes: tuple[str, ...] = ("Yes", "yes")
    no: tuple[str, ...] = ("No", "no")

    @property
    def choices(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Both, yes first."""
        return self.yes, self.no

    def word(self, is_yes: bool) -> str:
        """The answer that is trained on."""
        return (self.yes if is_yes else self.no)[0]


class Rubric(Protocol):
    """Knows what is asked about a response.

    A rubric may also have `prompt_fault(instruction)`, which gives a `PromptFault` or None. Then it
    decides which new prompts are refused, and not only those without criteria.
    """

    def criteria(self, instruction: str) -> Sequence[Criterion]:
        """The criteria for responses to an instruction; empty if none is known."""
        ...


@dataclass(frozen=True)
class ListedCriteria:
    """The same criteria for every instruction."""

    listed: tuple[Criterion, ...]

    def criteria(self, instruction: str) -> Sequence[Criterion]:
        """All of them."""
        return self.listed


@dataclass(frozen=True)
class CriteriaPrompt:
    """A template for one question about one response, and the questions."""

    template: str
    """Has `{response}` and `{criterion}` once each, and `{instruction}` at most once. What comes
    before `{criterion}` is computed once for all criteria of a response."""
    rubric: Rubric
    answers: Answers = Answers()

    def fill(self, instruction: str, response: str, criterion: Criterion) -> str:
        """The question about a response. Tags of the template are escaped in the response."""
        values = {INSTRUCTION: instruction, RESPONSE: response, CRITERION: criterion.question}
        return fill(
            self.template, {name: text for name, text in values.items() if name in self.template}
        )


JudgePrompt = str | CriteriaPrompt
"""What a judge is asked: a template that asks for a judgement in words, or criteria."""


def template_of(prompt: JudgePrompt) -> str:
    """The template of either form."""
    return prompt.template if isinstance(prompt, CriteriaPrompt) else prompt


def has_criteria(prompt: CriteriaPrompt | None, instruction: str) -> bool:
    """Whether a judge has something to ask about responses; True without a prompt by criteria."""
    return prompt is None or bool(prompt.rubric.criteria(instruction))


def prompt_fault(prompt: CriteriaPrompt | None, instruction: str) -> PromptFault | None:
    """Why a new prompt is refused; None without a prompt by criteria."""
    if prompt is not None and (own := getattr(prompt.rubric, "prompt_fault", None)):
        return own(instruction)
    return None if has_criteria(prompt, instruction) else "no_criteria"


def filled(prompt: JudgePrompt, instruction: str, response: str) -> list[str]:
    """What a judge is asked about a response: one text, or one for each criterion."""
    if isinstance(prompt, CriteriaPrompt):
        criteria = prompt.rubric.criteria(instruction)
        return [prompt.fill(instruction, response, each) for each in criteria]
    return [fill_judge_prompt(prompt, instruction, response)]


def check_criteria_prompt(prompt: CriteriaPrompt) -> CriteriaPrompt:
    """The prompt itself, if its template has the places that it needs.

    Raises:
        InputError: All faults of the template.
    """
    faults = placeholder_faults(prompt.template, (RESPONSE, CRITERION))
    if prompt.template.count(INSTRUCTION) > 1:
        faults.append(f"{INSTRUCTION} may appear in it once")
    if faults:
        raise InputError(summary(f"criteria prompt: {len(faults)} faults.", faults))
    return prompt


def judge_by_criteria(
    engine: GenerationEngine,
    judge: Checkpoint,
    prompt: CriteriaPrompt,
    responses: pd.DataFrame,
) -> pd.DataFrame:
    """One row for each response: the answers to its criteria, and the score that they give.

    Nothing is sampled, so a second judgement would be the same. A response to an instruction
    without criteria has no score, and neither has one that leaves the judge no room.

    Args:
        engine: Reads the probabilities.
        judge: The model that judges.
        prompt: What is asked.
        responses: `response_id` (unique), `prompt`, `response`.
    """
    criteria = {
        row.response_id: prompt.rubric.criteria(row.prompt) for row in responses.itertuples()
    }
    requests = [
        Request(
            f"{row.response_id}-j-c{number}",
            prompt.fill(row.prompt, row.response, criterion),
            optional=True,
        )
        for row in responses.itertuples()
        for number, criterion in enumerate(criteria[row.response_id])
    ]
    found = iter(engine.choice_logprobs(judge, requests, prompt.answers.choices))
    rows = []
    for name, asked in criteria.items():
        answers = [next(found) for _ in asked]
        row = {
            "response_id": name,
            "criteria": [each.question for each in asked],
            "wanted": [each.wanted for each in asked],
            "log_yes": [yes for yes, _ in answers],
            "log_no": [no for _, no in answers],
        }
        no_room = any(math.isnan(yes) for yes in row["log_yes"])
        rows.append(row | {"finish": "no_room" if no_room else "stop"})
    return pd.DataFrame(rows, columns=["response_id", *COLUMNS, "finish"])


def examples_of(row: Mapping[str, Any], prompt: CriteriaPrompt) -> list[tuple[str, str]]:
    """What the judge was asked about one response, each with the answer that it found likelier.

    Args:
        row: A judgement with its `prompt` and `response`.
        prompt: What was asked.
    """
    criteria = prompt.rubric.criteria(row["prompt"])
    answers = zip(criteria, row["log_yes"], row["log_no"], strict=True)
    return [
        (prompt.fill(row["prompt"], row["response"], each), prompt.answers.word(yes > no))
        for each, yes, no in answers
    ]


def points(row: Mapping[str, Sequence]) -> list[float]:
    """The points of one judgement by criteria, each from 0 to 1; NaN where there was no room.

    A point is the probability of the wanted answer, among the two.
    """
    answers = zip(row["wanted"], row["log_yes"], row["log_no"], strict=True)
    return [_share(yes - no if wanted else no - yes) for wanted, yes, no in answers]


def score_of(found: Sequence[float]) -> float:
    """0 to 5: five times the mean of the points; NaN without points. Paper: five points."""
    return _FULL * math.fsum(found) / len(found) if found else float("nan")


def described(row: Mapping[str, Sequence]) -> str:
    """A judgement by criteria for people to read."""
    lines = [
        f"{question} {'yes' if wanted else 'no'}: {point:.3f}"
        for question, wanted, point in zip(row["criteria"], row["wanted"], points(row), strict=True)
    ]
    return "\n".join(lines)


def _share(odds: float) -> float:
    """The probability of log-odds, without overflow."""
    if odds >= 0:
        return 1 / (1 + math.exp(-odds))
    return math.exp(odds) / (1 + math.exp(odds))
