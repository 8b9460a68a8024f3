"""Knobs of writing new prompts.

The few-shot prompt is a text file with `{tasks}` in it once. In its place come the demonstrations,
a line `Task: ...` each. The file ends with an open line, `Task:`, which the writer continues; white
space behind it is taken off.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.prompt import fill, placeholder_faults
from srlm_kedro.params import LIMIT, MANY, TOKENS, Count, Params, Schedule

DEMONSTRATIONS = "{tasks}"


def fill_few_shot_prompt(template: str, tasks: Iterable[str]) -> str:
    """The template with the demonstrations in their place."""
    lines = [f"Task: {' '.join(text.split())}" for text in tasks]
    return fill(template.rstrip(), {DEMONSTRATIONS: "\n".join(lines)})


def check_few_shot_prompt(template: str) -> str:
    """The template itself, when the place of the demonstrations stands in it once.

    Raises:
        InputError: It does not.
    """
    if faults := placeholder_faults(template, [DEMONSTRATIONS]):
        raise InputError(summary("few-shot prompt: it cannot be filled.", faults))
    return template


class WriterSampling(StageSampling):
    """How new prompts are drawn. Paper: section 3.1, temperature 0.6 and top-p 0.9."""

    n: int = Field(1, ge=1, le=1000)
    """Continuations of one set of demonstrations; more of them share its prefill."""
    temperature: float = Field(0.6, ge=0, le=10)
    """Paper: 0.6."""
    max_new_tokens: int = Field(256, ge=1, le=TOKENS)
    """Longest continuation in tokens (paper: not stated); prompts cut by it are refused."""
    min_new_tokens: int = Field(1, ge=0, le=TOKENS)
    """1 forbids the empty continuation."""
    stop: tuple[str, ...] = ("\n",)
    """A task is one line. Give other strings to a writer whose tasks have several."""


class FilterParams(Params):
    """What refuses a new prompt. Paper: section 2.2, the filters of Self-Instruct."""

    min_words: int = Field(4, ge=1, le=MANY)
    """Words at least (Self-Instruct: more than 3)."""
    max_words: int = Field(150, ge=1, le=MANY)
    """Words at most (Self-Instruct: 150)."""
    banned_words: tuple[str, ...] = (
        *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files"),
        *("map", "maps", "draw", "plot", "go to"),
    )
    """Words that ask for what a language model cannot do; whole words, in any case."""
    banned_openings: tuple[str, ...] = ("Write a program",)
    """Openings that are refused, in any case (Self-Instruct refuses them as written)."""
    max_rouge_l: Decimal = Field(Decimal("0.7"), ge=0, le=1)
    """A prompt whose ROUGE-L F with any known prompt is above it is refused (paper: 0.7)."""

    @model_validator(mode="after")
    def _some_length(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(
                f"min_words = {self.min_words} is above max_words = {self.max_words}: every prompt "
                "would be refused"
            )
        return self


class PromptsParams(Params):
    """From known prompts to new ones."""

    count: Schedule[Count] = (5000,)
    """New prompts an iteration (paper: not stated; at 0.55 to 0.8 pairs a prompt this gives its
    3,964 pairs)."""
    max_written: Schedule[Count] = (20000,)
    """Continuations drawn an iteration at most; then the run goes on with what was accepted."""
    min_accepted: Annotated[int, LIMIT] = Field(1, ge=1, le=MANY)
    """The run stops with fewer new prompts than this."""
    ift_demonstrations: int = Field(6, ge=0, le=1000)
    """Demonstrations out of IFT (paper: 6)."""
    model_demonstrations: int = Field(2, ge=0, le=1000)
    """Demonstrations out of earlier iterations' prompts (paper: 2). Those that are lacking, all of
    them in the first iteration, come out of IFT."""
    chat: bool = False
    """False: the writer continues raw text. True: the few-shot prompt is a user's turn."""
    sampling: WriterSampling = WriterSampling()
    """How continuations are drawn."""
    filters: FilterParams = FilterParams()
    """What refuses a new prompt."""

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        least = {"count": min(self.count), "max_written": min(self.max_written)}
        faults = [
            f"{name} = {number} cannot give min_accepted = {self.min_accepted} prompts"
            for name, number in least.items()
            if number < self.min_accepted
        ]
        if least["max_written"] < self.sampling.n:
            faults.append(
                f"max_written = {least['max_written']} leaves no room for one draw of sampling.n = "
                f"{self.sampling.n} continuations"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self
