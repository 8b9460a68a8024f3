"""Knobs of the study."""

from pydantic import Field

from srlm_kedro.params import MANY, Params


class StudyParams(Params):
    """What is looked at between the stages (ours; the paper shows no such figures)."""

    prompts: int | None = Field(200, ge=1, le=MANY)
    """Prompts of an iteration whose candidates the referee assesses, drawn by the seed; null: all.
    A referee that is a language model is paid by the response."""
    own_prompts: int | None = Field(80, ge=1, le=MANY)
    """Held-out prompts whose sampled responses each model judges itself, drawn by the seed; null:
    all of them."""


class RubricParams(Params):
    """Whether M1 reads its judge prompt. Apart from the study: it remakes no other figure."""

    shuffles: int = Field(3, ge=1, le=1000)
    """Random orders of the judge prompt's words under which M1 judges."""
