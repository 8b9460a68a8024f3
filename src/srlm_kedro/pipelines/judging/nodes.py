"""The model judges the responses that it gave itself. Paper: section 2.2."""

from typing import Annotated, Self

import pandas as pd
from pydantic import Field, model_validator

from srlm_kedro.engines.generation.base import GenerationEngine, StageSampling
from srlm_kedro.judge.judgements import Policy, candidacy, judge_responses
from srlm_kedro.params import LIMIT, TOKENS, Params, Reads
from srlm_kedro.records import Checkpoint, derive_seed


class JudgeSampling(StageSampling):
    """How judgements are drawn. Paper: section 3.1, three a response, drawn as candidates are."""

    n: int = Field(3, ge=1, le=1000)
    """K, judgements a response (paper: 3)."""
    max_new_tokens: int = Field(384, ge=1, le=TOKENS)
    """Longest judgement in tokens. The paper does not state one; it asks for 100 words before the
    score, and a smaller limit cuts the score off."""


class JudgingParams(Params):
    """From responses to rewards."""

    sampling: JudgeSampling = JudgeSampling()
    """K judgements a response, and how they are drawn."""
    retries: int = Field(2, ge=0, le=100)
    """Further attempts for a judgement without a score (paper: not stated)."""
    min_scores: int = Field(1, ge=1, le=1000)
    """A response with fewer scores than this gets no reward (paper: not stated)."""
    cut: Policy = "drop"
    """What becomes of responses cut at the token limit (paper: not stated). `drop`: they are not
    judged, get no reward, and so are in no pair and no positive example. `keep`: they are judged
    as they are and trained on without an end token, which the model never wrote."""
    empty: Policy = "drop"
    """What becomes of responses without text, likewise (paper: not stated)."""
    max_unparsed: Annotated[float, LIMIT] = Field(0.10, ge=0, le=1)
    """The run stops when a larger share of the judgements carries no score after the retries."""

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        if self.min_scores > self.sampling.n:
            raise ValueError(
                f"min_scores = {self.min_scores} is above sampling.n = {self.sampling.n}: no "
                "response could get a reward"
            )
        return self


def judge_candidates(
    judge: Checkpoint,
    responses: pd.DataFrame,
    judge_prompt: str,
    judge_engine: GenerationEngine,
    judging: Annotated[JudgingParams, Reads("sampling", "retries", "cut", "empty")],
    seed: int,
) -> pd.DataFrame:
    """K judgements of each candidate, every attempt with its raw text.

    Identical responses to one prompt are judged each by itself, as the paper does. Responses that
    `judging.cut` and `judging.empty` drop are not judged: nothing would use what was paid for.
    """
    candidates = responses[candidacy(responses, judging.cut, judging.empty) == "ok"]
    return judge_responses(
        judge_engine,
        judge,
        judge_prompt,
        candidates,
        judging.sampling,
        derive_seed(seed, "judging"),
        judging.retries,
    )
