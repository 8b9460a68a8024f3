"""The parameters `study`."""

from pydantic import Field

from srlm_kedro.params import MAX_COUNT, Params


class StudyParams(Params):
    """The parameters `study`: how much is studied (ours; the paper shows no such figures)."""

    prompts: int | None = Field(200, ge=1, le=MAX_COUNT)
    """Number of random prompts per iteration whose candidates the referee assesses. Null: all. A
    referee that is a language model costs money or time for each response."""
    own_prompts: int | None = Field(80, ge=1, le=MAX_COUNT)
    """Number of random held-out prompts for which each model judges its own sampled responses.
    Null: all."""
