"""Knobs of choosing seed data out of human conversations."""

from pydantic import Field

from srlm_kedro.params import MANY, Params


class OasstParams(Params):
    """From an OASST export to IFT, EFT and held-out prompts. Paper: section 3.1, seed data."""

    languages: tuple[str, ...] = Field(("en",), min_length=1)
    """Languages of prompts and replies (paper: English)."""
    tree_states: tuple[str, ...] = ("ready_for_export",)
    """States of trees that are wanted; a tree whose state the export leaves out is (paper: not
    stated)."""
    max_spam: float = Field(0.5, ge=0, le=1)
    """A message that a larger share of its readers called spam is dropped (paper: not stated)."""
    max_prompt_characters: int | None = Field(None, ge=1, le=MANY)
    """Longer prompts are dropped, with their replies (paper: not stated)."""
    max_response_characters: int | None = Field(None, ge=1, le=MANY)
    """Longer replies are dropped (paper: not stated)."""
    eval_count: int = Field(256, ge=0, le=MANY)
    """Prompts held out for head-to-head comparisons (paper: 256)."""
    max_eval_share: float = Field(0.1, ge=0, lt=1)
    """Of few prompts, no larger share is held out than this."""
    eft_share: float = Field(0.5, ge=0, lt=1)
    """Share of the other prompts with several ranked replies that go to EFT. Of about 9,000 prompts
    a half leaves room for IFT's 3,200 and gives the baseline some 4,000 to judge (paper: 2,171 EFT
    examples are left after judging; how many prompts were judged is not stated)."""
    ift_count: int | None = Field(3200, ge=1, le=MANY)
    """IFT examples at most (paper: 3,200); null takes all that are left."""
