"""What cannot be known before a run: lengths and shares, by the world that the texts come from."""

from pydantic import Field

from srlm_kedro.params import TOKENS, Params, Schedule
from srlm_kedro.pipelines.estimate.params import SomeShare


class Expected(Params):
    """Figures to plan with. A list holds M2's, M3's, ...; the last repeats."""

    tokens_per_word: float = Field(gt=0, le=1000)
    """Tokens a word; marks and newlines count as words."""
    written_tokens: float | None = Field(gt=0, le=TOKENS)
    """A written prompt, refused ones included; None: as long as IFT prompts."""
    response_growth: float = Field(gt=0, le=1000)
    """Factor by which responses lengthen from one model to the next; M1's are as IFT's."""
    judgement_tokens: float = Field(gt=0, le=TOKENS)
    """A judgement, its end token included."""
    accepted_share: Schedule[SomeShare]
    """Of what is written; the rest is refused by the filters."""
    pair_yield: Schedule[SomeShare]
    """Pairs a prompt."""
    kept_share: SomeShare
    """Of the baseline's judgements of EFT: they agree with people and survive thinning."""


MICROWORLD = Expected(
    tokens_per_word=1.0,  # its tokenizer cuts words and marks, and nothing else
    written_tokens=10,  # measured: 9.7 to 10.2
    response_growth=1.09,  # measured: 11.7, 12.8, 13.8 on held-out prompts
    judgement_tokens=36.4,  # measured: 35.1 to 36.8
    accepted_share=(0.16, 0.07),  # measured; by seed .14 to .19, then .06 to .08
    pair_yield=(0.84, 0.71),  # measured; by seed .80 to .92, then .63 to .79
    kept_share=0.85,  # measured: .82 to .87
)
"""Measured on default runs."""

ENGLISH = Expected(
    tokens_per_word=1.05,  # 1.35 tokens of BPE a word between spaces, 1.28 words and marks (OASST)
    written_tokens=None,
    response_growth=1.5,  # paper: AlpacaEval's answers, 1092, 1552, 2552 characters
    judgement_tokens=135,  # the judge prompt asks for 100 words at most
    accepted_share=(0.6,),  # assumed: every seventh is a duplicate, a few more too near
    pair_yield=(0.55,),  # public 7B runs
    kept_share=0.55,  # assumed: half agree, some of the commonest score are dropped
)
"""Assumed, or taken from the paper, for models of natural language."""
