"""Knobs of the study."""

import random
from collections.abc import Sequence

from pydantic import Field

from srlm_kedro.params import Params
from srlm_kedro.records import derive_seed


class StudyParams(Params):
    """What is looked at between the stages (ours; the paper shows no such figures)."""

    prompts: int | None = Field(200, ge=1)
    """Prompts of an iteration whose candidates the referee assesses, drawn by the seed; null: all.
    A referee that is a language model is paid by the response."""
    own_prompts: int | None = Field(80, ge=1)
    """Held-out prompts whose sampled responses each model judges itself, drawn by the seed; null:
    all of them."""


class RubricParams(Params):
    """Whether M1 reads its judge prompt. Apart from the study: it remakes no other figure."""

    shuffles: int = Field(3, ge=1)
    """Random orders of the judge prompt's words under which M1 judges."""


def some(ids: Sequence[str], limit: int | None, seed: int) -> list[str]:
    """All of them, or `limit` that the seed draws."""
    if limit is None or len(ids) <= limit:
        return list(ids)
    return random.Random(derive_seed(seed, "study")).sample(list(ids), limit)
