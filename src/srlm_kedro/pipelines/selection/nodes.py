"""Each model answers the validation prompts, and one judge judges the answers of all.

The prompts are those of the rankings that EFT held back: nothing is trained on them, and they are
no part of the held-out prompts that the evaluation tells of. The referee is not asked: what steers
the loop does not see it.
"""

from typing import Annotated

import pandas as pd
from pydantic import Field

from srlm_kedro.engines.generation.base import GenerationEngine, Request, StageSampling
from srlm_kedro.judge.judgements import judge_responses
from srlm_kedro.params import MANY, TOKENS, Params, Reads
from srlm_kedro.records import Checkpoint, derive_seed, drawn


class ValidationSampling(StageSampling):
    """How validation responses are drawn (paper: not stated; as candidates are, section 3.1)."""

    n: int = Field(4, ge=1, le=1000)
    """Responses a validation prompt (paper: not stated)."""


class ValidationJudgeSampling(StageSampling):
    """How validation responses are judged (paper: by Claude 2; here as in the loop)."""

    n: int = Field(3, ge=1, le=1000)
    """K, judgements a response; their mean is the reward."""
    max_new_tokens: int = Field(384, ge=1, le=TOKENS)
    """Longest judgement in tokens (paper: not stated)."""


class SelectionParams(Params):
    """What is drawn of each model, and judged by one and the same judge."""

    prompts: int = Field(253, ge=1, le=MANY)
    """Validation prompts at most, of those that EFT held back (paper: 253, for early stopping)."""
    sampling: ValidationSampling = ValidationSampling()
    """Responses to the validation prompts."""
    judging: ValidationJudgeSampling = ValidationJudgeSampling()
    """Judgements of them."""
    retries: int = Field(2, ge=0, le=100)
    """Further attempts for a judgement without a score."""


COLUMNS = [
    *("model", "prompt_id", "response_id", "prompt"),
    *("response", "tokens", "finish", "thought"),
]


def draw_validation_responses(
    model: Checkpoint,
    eft_eval: pd.DataFrame,
    generation_engine: GenerationEngine,
    selection: Annotated[SelectionParams, Reads("prompts", "sampling")],
    seed: int,
) -> pd.DataFrame:
    """`sampling.n` responses to each validation prompt; the same draws for every model."""
    requests = _requests(eft_eval, selection.prompts, seed)
    answered = generation_engine.generate(
        model, requests, selection.sampling, derive_seed(seed, "validation")
    )
    rows = [
        (
            *(model.name, asked.id, f"{model.name}-{asked.id}-v{sample}", asked.prompt),
            *(completion.text, completion.tokens, completion.finish, completion.thought),
        )
        for asked, completions in zip(requests, answered, strict=True)
        for sample, completion in enumerate(completions)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def judge_validation_responses(
    judge: Checkpoint,
    validation_responses: pd.DataFrame,
    judge_prompt: str,
    judge_engine: GenerationEngine,
    selection: Annotated[SelectionParams, Reads("judging", "retries")],
    seed: int,
) -> pd.DataFrame:
    """K judgements of each response, every attempt with its raw text.

    `judge` is the same for all models: each would like its own answers best.
    """
    return judge_responses(
        judge_engine,
        judge,
        judge_prompt,
        validation_responses,
        selection.judging,
        derive_seed(seed, "validation"),
        selection.retries,
    )


def _requests(eft_eval: pd.DataFrame, limit: int, seed: int) -> list[Request]:
    """The distinct prompts, or `limit` of them drawn by the seed, in their order."""
    prompts = eft_eval.drop_duplicates("prompt")
    places = sorted(drawn(range(len(prompts)), limit, seed, "validation prompts"))
    prompts = prompts.iloc[places]
    return [Request(row.prompt_id, row.prompt) for row in prompts.itertuples()]
