"""Knobs of holding a model against the one before it.

They are two groups, so that another margin has the models compared again and nothing drawn again.
"""

from pydantic import Field

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import MANY, TOKENS, Params


class ValidationSampling(StageSampling):
    """How validation responses are drawn (paper: not stated; as candidates are, section 3.1)."""

    n: int = Field(4, ge=1, le=1000)
    """Responses a validation prompt (paper: not stated)."""


class ValidationJudgeSampling(StageSampling):
    """How validation responses are judged (paper: by Claude 2; here as in the loop)."""

    n: int = Field(3, ge=1, le=1000)
    """K, judgements a response; their mean is the reward."""
    max_new_tokens: int = Field(384, ge=1, le=TOKENS)
    """Longest judgement in tokens (paper: not stated)."""


class SelectionParams(Params):
    """What is drawn of each model, and judged by one and the same judge."""

    prompts: int = Field(253, ge=1, le=MANY)
    """Validation prompts at most, of those that EFT held back (paper: 253, for early stopping)."""
    sampling: ValidationSampling = ValidationSampling()
    """Responses to the validation prompts."""
    judging: ValidationJudgeSampling = ValidationJudgeSampling()
    """Judgements of them."""
    retries: int = Field(2, ge=0, le=100)
    """Further attempts for a judgement without a score."""


class RollbackParams(Params):
    """When a model counts as worse than the one before it (paper: not stated, it goes on)."""

    margin: float = Field(0.0, ge=0, le=100)
    """Points of win minus loss (in %): a model is worse when all of the 95% interval lies further
    than this below 0."""
    resamples: int = Field(2000, ge=100, le=1_000_000)
    """Bootstrap resamples of the validation prompts, for the interval."""
