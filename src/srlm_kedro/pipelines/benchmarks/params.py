"""Knobs of the benchmarks and of the guard over them.

They are two groups, so that a new limit has the guard asked again and no benchmark run again.
"""

from typing import Self

from pydantic import Field, model_validator

from srlm_kedro.params import MANY, Params


class BenchmarksParams(Params):
    """What is measured of each model. Paper: results, NLP benchmarks."""

    tasks: tuple[str, ...] = Field(
        (
            *("arc_easy", "arc_challenge", "hellaswag", "social_iqa", "piqa"),
            *("gsm8k", "mmlu", "openbookqa", "nq_open"),
        ),
        min_length=1,
    )
    """Tasks by the harness's names (the paper's nine, as lm-eval calls them)."""
    limit: int | None = Field(None, ge=1, le=MANY)
    """Items of each task, the first ones; None takes all."""
    num_fewshot: int | None = Field(None, ge=0, le=1000)
    """Worked examples before each item; None leaves each task its own number."""


class DropLimit(Params):
    """How far a figure may fall below M1's, in points."""

    warn: float | None = Field(None, gt=0, le=100)
    """A larger drop is logged as a warning."""
    stop: float | None = Field(None, gt=0, le=100)
    """A larger drop stops the run; the model and its figures stay on disk."""

    @model_validator(mode="after")
    def _warns_first(self) -> Self:
        if self.warn is not None and self.stop is not None and self.warn > self.stop:
            raise ValueError(
                f"warn = {self.warn} is above stop = {self.stop}: nobody would be warned"
            )
        return self


class AlignmentParams(Params):
    """How much of M1's abilities the later models may lose: the alignment tax.

    The paper reports it and sets no limit: M3 lies 4.4 points below M1 on ARC-Challenge and 2.6
    below on GSM8K.
    """

    every: DropLimit = DropLimit(warn=3.0, stop=10.0)
    """For each figure that `limits` does not name."""
    limits: dict[str, DropLimit] = Field({})
    """By task (`gsm8k`), or by task and metric (`arc_challenge/acc_norm`), which goes first. An
    empty entry guards nothing."""

    def limit(self, task: str, metric: str) -> DropLimit:
        """The limit of one figure."""
        return self.limits.get(f"{task}/{metric}") or self.limits.get(task) or self.every
