"""Knobs of the contamination check."""

from pydantic import Field

from srlm_kedro.params import Params


class ContaminationParams(Params):
    """What counts as seen in training, and how much of it a run bears.

    The paper does not check. Shares are of the prompts of one evaluation set; the worst set counts.
    """

    ngram: int = Field(13, ge=1, le=1000)
    """Words of a run that must not stand in a training text too (GPT-3: 13). An evaluation prompt
    with fewer words is compared as a whole."""
    min_overlap: float = Field(0.0, ge=0, lt=1)
    """An evaluation prompt counts as overlapping when more than this share of its runs stands in
    one training text (GPT-3: any)."""
    max_exact_share: float = Field(0.01, ge=0, le=1)
    """The run stops when more of a set's prompts are a training text, word for word."""
    max_overlap_share: float = Field(0.05, ge=0, le=1)
    """The run stops when more of a set's prompts overlap, those that are equal among them."""
