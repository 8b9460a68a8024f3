"""Knobs of evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import LIMIT, TOKENS, Params


class EvalSampling(StageSampling):
    """How evaluated responses are drawn (paper: not stated; as candidates are, section 3.1)."""

    n: int = Field(4, ge=1, le=1000)
    """Sampled responses a held-out prompt (paper: not stated)."""


class EvalJudgeSampling(StageSampling):
    """How a model judges the EFT eval split (paper: not stated; as in the loop, section 3.1)."""

    n: int = Field(3, ge=1, le=1000)
    """K, judgements a response; their mean is the score."""
    max_new_tokens: int = Field(384, ge=1, le=TOKENS)
    """Longest judgement in tokens (paper: not stated)."""


class EvaluationParams(Params):
    """What is measured of each model, and how often."""

    sampling: EvalSampling = EvalSampling()
    """Responses to the held-out prompts."""
    greedy: bool = True
    """One greedy response a prompt besides; it enters `eval/greedy_score` alone."""
    judging: EvalJudgeSampling = EvalJudgeSampling()
    """Judgements of the ranked responses that EFT held back."""
    retries: int = Field(2, ge=0, le=100)
    """Further attempts for a judgement without a score."""
    pairing: Literal["all", "matched"] = "all"
    """Head-to-head of a prompt: every response against every one of the opponent, the estimate
    of least variance, or the i-th against the i-th. `matched` suits a referee that is paid: two
    orders of n comparisons a prompt and opponent in place of n squared."""
    max_unparsed: Annotated[float, LIMIT] = Field(0.10, ge=0, le=1)
    """The run stops when a larger share of a comparing referee's words carries no verdict. All of
    them are kept: another limit lets the run go on, and nobody is asked again."""
    resamples: int = Field(2000, ge=100, le=1_000_000)
    """Bootstrap resamples of the prompts, for the 95% intervals."""
