"""Knobs of making pairs."""

from typing import Literal

from pydantic import Field

from srlm_kedro.params import Params


class PairsParams(Params):
    """From judged responses to preference pairs."""

    order: Literal["reward", "random"] = "reward"
    """`reward`: chosen is the higher one (paper). `random`: the same two responses in an order
    drawn at random, the control that shows what the rewards are worth."""
    min_pairs: int = Field(1, ge=1)
    """The run stops with fewer pairs than this."""
