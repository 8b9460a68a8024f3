"""Knobs of drawing responses."""

from pydantic import Field

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import Params


class CandidateSampling(StageSampling):
    """How candidates are drawn. Paper: section 3.1, temperature 0.7 and top-p 0.9."""

    n: int = Field(4, ge=2, le=1000)
    """N, candidates a prompt (paper: 4); a pair needs two."""


class ResponsesParams(Params):
    """From prompts to candidate responses."""

    sampling: CandidateSampling = CandidateSampling()
    """N candidates a prompt, and how they are drawn."""
