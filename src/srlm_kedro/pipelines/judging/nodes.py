"""The model judges the responses that it gave itself. Paper: section 2.2."""

from typing import Annotated

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.judge.judgements import candidacy, judge_responses
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.judging.params import JudgingParams
from srlm_kedro.records import Checkpoint, derive_seed


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
