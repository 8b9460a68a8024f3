"""The parameters `eft`, and the judgement that a human rank gives."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import LIMIT, MAX_COUNT, MAX_TOKENS, Params


def ranked_judgement(place: int, last: int, score: int) -> str:
    """The judgement that a person's rank gives, with `loop.eft: ranking`."""
    return f"People put this response in place {place} of {last}.\nScore: {score}"


class EftSampling(StageSampling):
    """How the SFT baseline's judgements are drawn (paper: not stated; as in the loop)."""

    n: int = Field(1, ge=1, le=1000)
    """Judgements per ranked response (paper: not stated)."""
    max_new_tokens: int = Field(384, ge=1, le=MAX_TOKENS)
    """Longest judgement in tokens (paper: not stated)."""


class EftParams(Params):
    """The parameters `eft`: from human rankings to judgements that agree with them."""

    sampling: EftSampling = EftSampling()
    """How many judgements the baseline makes, and how they are drawn."""
    agreement: Literal["example", "set"] = "example"
    """When a judgement agrees with the human ranking. A set has one judgement of each response to a
    prompt. `example`: next to each other response of the set, the judged one is never scored
    against the ranks, and at least once in their order. `set`: all responses of the set are scored
    in the order of their ranks, without a tie; otherwise no judgement of the set agrees."""
    min_words: int = Field(5, ge=0, le=MAX_COUNT)
    """A judgement of fewer words is a score without a justification, and is dropped."""
    thin_commonest: bool = True
    """True: judgements with the commonest score are dropped at random, down to the number of those
    with the second commonest (paper: some of the fours are dropped; how many is not stated)."""
    per_answer: int | None = Field(None, ge=1, le=MAX_COUNT)
    """With `loop.eft: labels`: the most examples of each answer, yes and no, for each kind of
    criterion. None: as many as the rarer answer has."""
    eval_fraction: float = Field(0.25, gt=0, lt=1)
    """Share of the prompts that is held back to measure judges (paper: 541 of 2,171 examples)."""
    eval_prompts: int | None = Field(None, ge=1, le=MAX_COUNT)
    """Number of prompts that are held back, in place of `eval_fraction`."""
    give_up_at: Annotated[float, LIMIT] = Field(0.1, ge=0, le=1)
    """The run stops if this share of the judgements is drawn, and at least 64, and none of them
    can be used. 1: all are drawn first."""
    min_kept: Annotated[int, LIMIT] = Field(1, ge=0, le=MAX_COUNT)
    """The run stops if there are fewer training examples than this."""

    def held(self, prompts: int) -> int:
        """How many of `prompts` prompts are held back."""
        asked = self.eval_prompts
        return round(prompts * self.eval_fraction) if asked is None else asked

    @model_validator(mode="after")
    def _has_one_size(self) -> "EftParams":
        if self.eval_prompts is not None and "eval_fraction" in self.model_fields_set:
            raise ValueError(
                f"eval_fraction = {self.eval_fraction} and eval_prompts = {self.eval_prompts} both "
                "say how many prompts are held back; eval_prompts = null lets the fraction count"
            )
        return self
