"""The parameters `verifiable`: the seed data of verifiable instructions."""

from typing import Self

from pydantic import Field, model_validator

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import MAX_COUNT, MAX_SEED, MAX_TOKENS, Params


class SeedSampling(StageSampling):
    """How M0's responses to seed prompts are drawn; as candidates are (paper: section 3.1)."""

    n: int = Field(4, ge=2, le=1000)
    """Responses per prompt, which programs then check."""
    max_new_tokens: int = Field(160, ge=1, le=MAX_TOKENS)
    """Longest response in tokens."""


class VerifiableParams(Params):
    """The parameters `verifiable`: how `--pipeline=seed_data` makes the seed data."""

    seed: int = Field(20401, ge=0, le=MAX_SEED)
    """Seed of the seed data, which do not depend on the run's seed; 2401.10020 is the paper."""
    ift: int = Field(480, ge=1, le=MAX_COUNT)
    """Prompts whose best response becomes an IFT example."""
    eft: int = Field(360, ge=1, le=MAX_COUNT)
    """Prompts whose responses become EFT examples."""
    eval_prompts: int = Field(160, ge=1, le=MAX_COUNT)
    """Number of held-out prompts."""
    unseen_topics: float = Field(0.25, ge=0, le=1)
    """Share of the held-out prompts on topics that occur nowhere else."""
    unseen_kinds: float = Field(0.25, ge=0, le=1)
    """Share of the held-out prompts with a kind of constraint that occurs nowhere else."""
    sampling: SeedSampling = SeedSampling()
    """How M0's responses are drawn."""
    resamples: int = Field(2000, ge=100, le=1_000_000)
    """Bootstrap resamples of the prompts, for the 95% intervals of what a model gained."""

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        if self.unseen_topics + self.unseen_kinds > 1:
            raise ValueError(
                f"unseen_topics = {self.unseen_topics:g} and unseen_kinds = {self.unseen_kinds:g} "
                "are shares of the same prompts, and together above 1"
            )
        return self
