"""Knobs of the microworld: who answers and reviews in it, and how much of each there is."""

from typing import Self

from pydantic import Field, model_validator

from srlm_kedro.params import MANY, SEED, Params, Share


class AnswererParams(Params):
    """How good a population of answerers is; every figure is a probability."""

    right: float = Field(0.45, ge=0, le=1)
    """All items are right."""
    slips: float = Field(0.0, ge=0, le=1)
    """An item is replaced, mostly by a wrong one, each by itself."""
    off_topic: float = Field(0.05, ge=0, le=1)
    """Of those with wrong items: they have nothing to do with the task."""
    keeps: float = Field(0.5, ge=0, le=1)
    """A request beside the task is followed, each by itself."""
    adds: float = Field(0.08, ge=0, le=1)
    """Something is shown that nobody asked for, each by itself."""
    helpful: float = Field(0.5, ge=0, le=1)
    """The voice is an assistant's; otherwise it is casual or curt."""
    chatters: float = Field(0.1, ge=0, le=1)
    """A remark follows that has nothing to do with the task."""


class ReviewerParams(Params):
    """How careful a population of reviewers is; every figure is a probability."""

    overlooks: float = Field(0.02, ge=0, le=1)
    """A verdict on an item or a request is the wrong way round, each by itself."""
    slips: float = Field(0.04, ge=0, le=1)
    """The score is one off what the sentences say."""


class CorpusParams(Params):
    """The texts that M0 learns from."""

    documents: int = Field(44_000, ge=1, le=MANY)
    """All documents; read once, so they decide how long M0 learns."""
    reviews: float = Field(0.55, ge=0, le=1)
    """Share of reviews in the words of the judge prompt, of what is no opening, drill or check."""
    tasks: float = Field(0.05, ge=0, le=1)
    """Share of lists of tasks in the words of the few-shot prompt, of the same; what is left over
    are answers."""
    drills: float = Field(0.03, ge=0, le=1)
    """Share of documents that say some words twice, before all other shares."""
    checks: float = Field(0.1, ge=0, le=1)
    """Share of documents with findings on one thing of a response, before all other shares."""
    opening: float = Field(0.45, ge=0, le=1)
    """Share of the corpus, at its start, of drills, checks and answers alone: without the rubric
    in between, it is learnt what an item is."""
    opening_drills: float = Field(0.05, ge=0, le=1)
    """Share of drills in the opening."""
    opening_checks: float = Field(0.6, ge=0, le=1)
    """Share of such findings in the opening."""
    checked_requests: tuple[Share, Share] = (0.15, 0.7)
    """Share of findings that are on the requests and not on the items, in the opening and after it.
    What an item is, alone and beside others, is learnt first and takes longest."""
    list_length: int = Field(9, ge=2, le=1000)
    """Tasks in a list: eight demonstrations and one more."""
    reviewed_right: float = Field(0.45, ge=0, le=1)
    """All items of a reviewed response are right, before slips: people review what is doubtful."""
    reviewed_slips: float = Field(0.25, ge=0, le=1)
    """An item of a reviewed response is replaced, each by itself."""
    reviewed_in_full: float = Field(0.5, ge=0, le=1)
    """Share of reviews that count what the judge prompt lists. Others count one to all of the five
    criteria, in any order, as the judge prompt before them then says: it has to be read."""
    answerers: AnswererParams = AnswererParams()
    reviewers: ReviewerParams = ReviewerParams()

    @model_validator(mode="after")
    def _shares(self) -> Self:
        together = (
            ("opening_drills", "opening_checks"),
            ("drills", "checks"),
            ("reviews", "tasks"),
        )
        for names in together:
            if sum(getattr(self, name) for name in names) > 1:
                raise ValueError(f"{' and '.join(names)} are shares of the same; they exceed 1")
        return self


class SeedDataParams(Params):
    """The committed seed set; it does not depend on the run's seed."""

    seed: int = Field(20401, ge=0, le=SEED)
    """2401.10020 is the paper's number."""
    ift: int = Field(256, ge=1, le=MANY)
    """Prompts with one response, by somebody who knows and does not always do what is right."""
    ift_keeps: float = Field(0.3, ge=0, le=1)
    """A request is followed in an IFT response, each by itself; nothing is added."""
    ift_right: float = Field(0.45, ge=0, le=1)
    """All items of an IFT response are right."""
    ift_helpful: float = Field(0.8, ge=0, le=1)
    """An IFT response sounds like an assistant."""
    eft: int = Field(260, ge=1, le=MANY)
    """Prompts with ranked responses."""
    eft_responses: int = Field(4, ge=2, le=1000)
    """Ranked responses a prompt."""
    eft_answerers: AnswererParams = AnswererParams(right=0.5)
    """Who wrote the ranked responses."""
    eval_prompts: int = Field(240, ge=1, le=MANY)
    """Held-out prompts."""
    eval_unseen: float = Field(0.25, ge=0, le=1)
    """Share of held-out prompts of kinds that nothing in training shows."""


class MicroworldParams(Params):
    """The world's texts and its seed data."""

    corpus: CorpusParams = CorpusParams()
    seed_data: SeedDataParams = SeedDataParams()
