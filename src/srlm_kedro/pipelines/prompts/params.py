"""The parameters `prompts`, and the few-shot prompt.

The few-shot prompt is a text file that contains `{tasks}` once. The demonstrations replace it, one
line `Task: ...` each. The file ends with an open line `Task:`, which the writer continues. White
space at its end is removed.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.prompt import fill, placeholder_faults
from srlm_kedro.params import LIMIT, MAX_COUNT, MAX_TOKENS, Count, Params, Schedule

DEMONSTRATIONS = "{tasks}"


def fill_few_shot_prompt(template: str, tasks: Iterable[str]) -> str:
    """The template with the demonstrations in place of `{tasks}`."""
    lines = [f"Task: {' '.join(text.split())}" for text in tasks]
    return fill(template.rstrip(), {DEMONSTRATIONS: "\n".join(lines)})


def check_few_shot_prompt(template: str) -> str:
    """The template, if it contains `{tasks}` once.

    Raises:
        InputError: It does not.
    """
    if faults := placeholder_faults(template, [DEMONSTRATIONS]):
        raise InputError(summary("few-shot prompt: it cannot be filled.", faults))
    return template


class WriterSampling(StageSampling):
    """How new prompts are drawn. Paper: section 3.1, temperature 0.6 and top-p 0.9."""

    n: int = Field(1, ge=1, le=1000)
    """Continuations per few-shot prompt; they share its prefill."""
    temperature: float = Field(0.6, ge=0, le=10)
    """Paper: 0.6."""
    max_new_tokens: int = Field(256, ge=1, le=MAX_TOKENS)
    """Longest continuation in tokens (paper: not stated). Prompts that it cuts are refused."""
    min_new_tokens: int = Field(1, ge=0, le=MAX_TOKENS)
    """Shortest continuation in tokens; 1 forbids an empty one."""
    stop: tuple[str, ...] = ("\n",)
    """Strings that end a continuation. By default a task is one line; for a writer whose tasks have
    several lines, set other strings."""


class FilterParams(Params):
    """The filters of new prompts. Paper: section 2.2, the filters of Self-Instruct."""

    min_words: int = Field(4, ge=1, le=MAX_COUNT)
    """Fewest words (Self-Instruct: more than 3)."""
    max_words: int = Field(150, ge=1, le=MAX_COUNT)
    """Most words (Self-Instruct: 150)."""
    banned_words: tuple[str, ...] = (
        *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files"),
        *("map", "maps", "draw", "plot", "go to"),
    )
    """Whole words, in any case, that ask for what a language model cannot do."""
    banned_openings: tuple[str, ...] = ("Write a program",)
    """Openings, in any case, that are refused (Self-Instruct: in this case only)."""
    max_rouge_l: Decimal = Field(Decimal("0.7"), ge=0, le=1)
    """A prompt is refused if its ROUGE-L F with a known prompt is above this (paper: 0.7)."""

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(
                f"min_words = {self.min_words} is above max_words = {self.max_words}: every prompt "
                "would be refused"
            )
        return self


class PromptsParams(Params):
    """The parameters `prompts`: from known prompts to new ones."""

    count: Schedule[Count] = (5000,)
    """New prompts per iteration (paper: not stated; at 0.55 to 0.8 pairs per prompt, 5,000 give its
    3,964 pairs)."""
    max_written: Schedule[Count] = (20000,)
    """Most continuations per iteration. After them the run goes on with the accepted prompts."""
    min_accepted: Annotated[int, LIMIT] = Field(1, ge=1, le=MAX_COUNT)
    """The run stops if fewer new prompts are accepted."""
    ift_demonstrations: int = Field(6, ge=0, le=1000)
    """Demonstrations from IFT (paper: 6)."""
    model_demonstrations: int = Field(2, ge=0, le=1000)
    """Demonstrations from earlier iterations' prompts (paper: 2). If there are too few, as in the
    first iteration, more come from IFT."""
    chat: bool = False
    """False: the writer continues the few-shot prompt as raw text. True: it is a user's turn."""
    sampling: WriterSampling = WriterSampling()
    """How continuations are drawn."""
    filters: FilterParams = FilterParams()
    """The filters of new prompts."""

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
