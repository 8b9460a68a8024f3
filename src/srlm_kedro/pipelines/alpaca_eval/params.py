"""Knobs of AlpacaEval."""

from typing import Annotated

from pydantic import Field

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import LIMIT, TOKENS, Params


class AlpacaSampling(StageSampling):
    """How a model answers (paper: not stated; temperature and top-p as in the loop)."""

    n: int = Field(1, ge=1, le=1)
    """Outputs an instruction; the benchmark compares one."""
    max_new_tokens: int = Field(2048, ge=1, le=TOKENS)
    """Longest output in tokens (paper: not stated; its M3 writes 2,552 characters on average)."""


class AlpacaEvalParams(Params):
    """What AlpacaEval asks of each model."""

    sampling: AlpacaSampling = AlpacaSampling()
    """Outputs for the instructions of `alpaca_eval_set`."""
    max_failed: Annotated[float, LIMIT] = Field(0.05, ge=0, le=1)
    """Share of instructions without a preference that stops the run when exceeded."""
