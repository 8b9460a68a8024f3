"""Knobs of making pairs."""

from typing import Annotated, Literal

from pydantic import Field

from srlm_kedro.params import LIMIT, MANY, Params


class PairsParams(Params):
    """From judged responses to preference pairs."""

    order: Literal["reward", "random"] = "reward"
    """`reward`: chosen is the higher one (paper). `random`: the same two responses in an order
    drawn at random, the control that shows what the rewards are worth."""
    length_control: float = Field(0.0, ge=0, lt=0.5)
    """0: highest against lowest reward (paper). Above: chosen is the shortest of the responses
    within this share of the span of rewards from the top, rejected the longest within it from the
    bottom, so that length alone wins less. Source: Meta-Rewarding (2407.19594)."""
    min_pairs: Annotated[int, LIMIT] = Field(1, ge=1, le=MANY)
    """The run stops with fewer pairs than this."""
