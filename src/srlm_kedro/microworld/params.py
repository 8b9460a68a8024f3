"""The parameters `microworld`: its corpus, its seed data, and those who answer and review in it."""

from typing import Self

from pydantic import Field, model_validator

from srlm_kedro.params import MAX_COUNT, MAX_SEED, Params, Share


class AnswererParams(Params):
    """How good the answers of a population are. All figures are probabilities."""

    right: float = Field(0.45, ge=0, le=1)
    """Probability that all items of an answer are right."""
    slips: float = Field(0.0, ge=0, le=1)
    """Probability that an item is replaced, mostly by a wrong one; drawn for each item."""
    off_topic: float = Field(0.05, ge=0, le=1)
    """Probability that wrong items have nothing to do with the task."""
    keeps: float = Field(0.5, ge=0, le=1)
    """Probability that a request beside the task is followed; drawn for each request."""
    adds: float = Field(0.08, ge=0, le=1)
    """Probability that the answer adds something unasked; drawn for each thing that it may add."""
    helpful: float = Field(0.5, ge=0, le=1)
    """Probability that the voice is an assistant's; otherwise it is casual or curt."""
    chatters: float = Field(0.1, ge=0, le=1)
    """Probability that a remark follows which has nothing to do with the task."""


class ReviewerParams(Params):
    """How careful a population of reviewers is. All figures are probabilities."""

    overlooks: float = Field(0.02, ge=0, le=1)
    """Probability that a verdict on an item or a request is reversed; drawn for each verdict."""
    slips: float = Field(0.04, ge=0, le=1)
    """Probability that the score differs by one from what the sentences say."""


class CorpusParams(Params):
    """The texts that M0 learns from."""

    documents: int = Field(44_000, ge=1, le=MAX_COUNT)
    """Number of documents. M0 reads each once, so this decides how long it learns."""
    reviews: float = Field(0.55, ge=0, le=1)
    """Share of reviews in the words of the judge prompt, among the documents after the opening that
    are neither drills nor checks."""
    tasks: float = Field(0.05, ge=0, le=1)
    """Share of lists of tasks in the words of the few-shot prompt, among the same documents. The
    rest of them are answers."""
    drills: float = Field(0.03, ge=0, le=1)
    """Share of drills, which say some words twice, among the documents after the opening."""
    checks: float = Field(0.1, ge=0, le=1)
    """Share of checks, findings on part of a response, among the documents after the opening."""
    opening: float = Field(0.45, ge=0, le=1)
    """Share of the corpus, at its start, that has only drills, checks and answers. There M0 learns
    what an item is, without the rubric."""
    opening_drills: float = Field(0.05, ge=0, le=1)
    """Share of drills in the opening."""
    opening_checks: float = Field(0.6, ge=0, le=1)
    """Share of checks in the opening."""
    checked_requests: tuple[Share, Share] = (0.15, 0.7)
    """Share of checks of the requests, not of the items: in the opening, and after it. What an item
    is comes first, because it takes longest to learn."""
    list_length: int = Field(9, ge=2, le=1000)
    """Tasks in a list: eight demonstrations and a new one."""
    reviewed_right: float = Field(0.45, ge=0, le=1)
    """Probability that all items of a reviewed response are right, before slips: people review what
    is doubtful."""
    reviewed_slips: float = Field(0.25, ge=0, le=1)
    """Probability that an item of a reviewed response is replaced; drawn for each item."""
    reviewed_in_full: float = Field(0.5, ge=0, le=1)
    """Share of reviews by all criteria of the judge prompt. The other reviews are by one to five of
    them in any order, and the judge prompt before such a review lists these: M0 has to read it."""
    answerers: AnswererParams = AnswererParams()
    """Those who wrote the answers."""
    reviewers: ReviewerParams = ReviewerParams()
    """Those who wrote the reviews."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        together = (
            ("opening_drills", "opening_checks"),
            ("drills", "checks"),
            ("reviews", "tasks"),
        )
        for names in together:
            if sum(getattr(self, name) for name in names) > 1:
                raise ValueError(
                    f"{' and '.join(names)} are shares of the same whole; they exceed 1"
                )
        return self


class SeedDataParams(Params):
    """The seed data that is committed; it does not depend on the run's seed."""

    seed: int = Field(20401, ge=0, le=MAX_SEED)
    """Seed of the seed data; 2401.10020 is the paper's number."""
    ift: int = Field(256, ge=1, le=MAX_COUNT)
    """Prompts with one response, by people who do not always do what they know is right."""
    ift_keeps: float = Field(0.3, ge=0, le=1)
    """Probability that an IFT response follows a request; drawn for each. Nothing is added."""
    ift_right: float = Field(0.45, ge=0, le=1)
    """Probability that all items of an IFT response are right."""
    ift_helpful: float = Field(0.8, ge=0, le=1)
    """Probability that an IFT response sounds like an assistant."""
    eft: int = Field(260, ge=1, le=MAX_COUNT)
    """Prompts with ranked responses."""
    eft_responses: int = Field(4, ge=2, le=1000)
    """Ranked responses per prompt."""
    eft_answerers: AnswererParams = AnswererParams(right=0.5)
    """Those who wrote the ranked responses."""
    points: bool = False
    """True: EFT says of each response which of the five criteria it meets (`loop.eft: labels`)."""
    eval_prompts: int = Field(240, ge=1, le=MAX_COUNT)
    """Number of held-out prompts."""
    eval_unseen: float = Field(0.25, ge=0, le=1)
    """Share of held-out prompts of kinds that do not occur in training."""


class MicroworldParams(Params):
    """The parameters `microworld`."""

    corpus: CorpusParams = CorpusParams()
    """The texts that M0 learns from."""
    seed_data: SeedDataParams = SeedDataParams()
    """The seed data."""
