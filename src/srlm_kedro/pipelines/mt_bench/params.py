"""Knobs of MT-Bench."""

from typing import Annotated

from pydantic import Field

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import LIMIT, TOKENS, Params

PAPER = {"sft": 6.85, "m1": 6.78, "m2": 7.01, "m3": 7.25}
"""`mt_bench/score` in the paper, judged by GPT-4."""


class MtBenchSampling(StageSampling):
    """How answers are drawn (paper: not stated)."""

    n: int = Field(1, ge=1, le=1)
    """One answer a turn: the second turn follows the first."""
    temperature: float = Field(0.0, ge=0, le=10)
    """Deviation: one value for all categories. The benchmark's own runs take 0 for extraction,
    math, coding and reasoning, 0.1 for STEM and humanities, 0.7 for writing and roleplay."""
    max_new_tokens: int = Field(1024, ge=1, le=TOKENS)
    """Longest answer, in tokens."""


class MtBenchParams(Params):
    """From questions to the score."""

    sampling: MtBenchSampling = MtBenchSampling()
    """How both turns are answered."""
    max_unparsed: Annotated[float, LIMIT] = Field(0.10, ge=0, le=1)
    """The run stops when a larger share of the judgements carries no rating. All of them are
    kept: another limit lets the run go on, and nobody is asked again."""
