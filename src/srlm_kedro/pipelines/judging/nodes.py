"""The parameters `judging`, and the model's judgements of its own responses. Paper: section 2.2."""

from typing import Annotated, Self

import pandas as pd
from pydantic import Field, model_validator

from srlm_kedro.engines.generation.base import GenerationEngine, StageSampling
from srlm_kedro.judge.criteria import JudgePrompt
from srlm_kedro.judge.first_judgements import FirstJudgements
from srlm_kedro.judge.judgements import DropOrKeep, candidate_status, judge_responses
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.refusals import advice
from srlm_kedro.params import LIMIT, MAX_TOKENS, Params, Reads
from srlm_kedro.parts import Parts
from srlm_kedro.records import Checkpoint, derive_seed

_HALF = 0.5
"""Above this share of judgements without a score, a judge that gives hardly any is accepted."""


class JudgeSampling(StageSampling):
    """How judgements are drawn. Paper: section 3.1, as candidates are."""

    n: int = Field(3, ge=1, le=1000)
    """K, judgements per response (paper: 3)."""
    max_new_tokens: int = Field(384, ge=1, le=MAX_TOKENS)
    """Longest judgement in tokens (paper: not stated). The judge prompt asks for up to 100 words
    before the score; a limit that is too small cuts off the score."""


class JudgingParams(Params):
    """The parameters `judging`: from responses to rewards."""

    sampling: JudgeSampling = JudgeSampling()
    """How many judgements are drawn, and how."""
    retries: int = Field(2, ge=0, le=100)
    """Further attempts for a judgement without a score (paper: not stated)."""
    min_scores: int = Field(1, ge=1, le=1000)
    """A response with fewer scores than this gets no reward (paper: not stated)."""
    cut: DropOrKeep = "drop"
    """What happens to responses that the token limit cut (paper: not stated). `drop`: they are not
    judged and get no reward, so they are in no pair and no positive example. `keep`: they are
    judged as they are, and trained on without an end token, which the model never wrote."""
    empty: DropOrKeep = "drop"
    """What happens to responses without text (paper: not stated): as for `cut`."""
    max_unparsed: Annotated[float, LIMIT] = Field(0.10, ge=0, le=1)
    """The run stops if a larger share of the judgements has no score after the retries."""
    give_up_at: Annotated[float, LIMIT] = Field(0.1, ge=0, le=1)
    """The run stops if this share of the judgements is drawn, and at least 64, and none of them
    has a score; no retry would help. 1, or `max_unparsed` above a half: all are drawn first.
    A judge that is asked by criteria draws nothing, and is not stopped early."""

    @model_validator(mode="after")
    def _can_be_rewarded(self) -> Self:
        if self.min_scores > self.sampling.n:
            raise ValueError(
                f"min_scores = {self.min_scores} is above sampling.n = {self.sampling.n}: no "
                "response could get a reward"
            )
        return self


def judge_candidates(
    judge: Checkpoint,
    responses: pd.DataFrame,
    judge_prompt: JudgePrompt,
    judge_engine: GenerationEngine,
    judging: Annotated[JudgingParams, Reads("sampling", "retries", "cut", "empty")],
    seed: int,
) -> Parts:
    """K judgements of each candidate, all attempts, raw.

    Identical responses to a prompt are judged separately, as in the paper. Responses that
    `judging.cut` or `judging.empty` drops are not judged, because nothing uses them.
    """
    candidates = responses[candidate_status(responses, judging.cut, judging.empty) == "ok"]
    first = FirstJudgements(
        "judging",
        len(candidates) * judging.sampling.n,
        judging.give_up_at if judging.max_unparsed <= _HALF else 1,
        lambda drawn: parse_score(drawn.text, drawn.finish).reason,
        lambda reasons: advice(reasons, "judging.sampling", judging.sampling.max_new_tokens),
    )
    return judge_responses(
        judge_engine,
        judge,
        judge_prompt,
        candidates,
        judging.sampling,
        derive_seed(seed, "judging"),
        judging.retries,
        first,
    )
