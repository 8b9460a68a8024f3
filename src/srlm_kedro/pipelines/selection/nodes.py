"""Each model answers the validation prompts, and one judge judges the answers of all models.

The validation prompts are those of the ranked responses that EFT held back. Nothing is trained on
them, and the evaluation does not use them. The referee is not asked, because nothing that steers
the loop may see it.
"""

from typing import Annotated

import pandas as pd
from pydantic import Field

from srlm_kedro.engines.generation.base import GenerationEngine, Request, StageSampling
from srlm_kedro.judge.criteria import JudgePrompt
from srlm_kedro.judge.judgements import judge_responses
from srlm_kedro.params import MAX_COUNT, MAX_TOKENS, Params, Reads
from srlm_kedro.records import Checkpoint, derive_seed, draw_sample


class ValidationSampling(StageSampling):
    """How validation responses are drawn (paper: not stated; as candidates are, section 3.1)."""

    n: int = Field(4, ge=1, le=1000)
    """Responses per validation prompt (paper: not stated)."""


class ValidationJudgeSampling(StageSampling):
    """How judgements of them are drawn (paper: by Claude 2; here as in the loop)."""

    n: int = Field(3, ge=1, le=1000)
    """K, judgements per response; the mean of their scores is the reward."""
    max_new_tokens: int = Field(384, ge=1, le=MAX_TOKENS)
    """Longest judgement in tokens (paper: not stated)."""


class SelectionParams(Params):
    """The parameters `selection`: what each model draws, and how one judge judges it."""

    prompts: int = Field(253, ge=1, le=MAX_COUNT)
    """Most validation prompts, of those that EFT held back (paper: 253, for early stopping)."""
    sampling: ValidationSampling = ValidationSampling()
    """How the responses to the validation prompts are drawn."""
    judging: ValidationJudgeSampling = ValidationJudgeSampling()
    """How the judgements of them are drawn."""
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
    """`sampling.n` responses to each validation prompt, with the same seeds for all models."""
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
    judge_prompt: JudgePrompt,
    judge_engine: GenerationEngine,
    selection: Annotated[SelectionParams, Reads("judging", "retries")],
    seed: int,
) -> pd.DataFrame:
    """K judgements of each response, all attempts, raw.

    `judge` is the same for all models, because each model would prefer its own answers.
    """
    return judge_responses(
        judge_engine,
        judge,
        judge_prompt,
        validation_responses,
        selection.judging,
        derive_seed(seed, "validation"),
        selection.retries,
    ).whole()


def _requests(eft_eval: pd.DataFrame, limit: int, seed: int) -> list[Request]:
    """The different prompts in their order, or a random `limit` of them."""
    prompts = eft_eval.drop_duplicates("prompt")
    places = sorted(draw_sample(range(len(prompts)), limit, seed, "validation prompts"))
    prompts = prompts.iloc[places]
    return [Request(row.prompt_id, row.prompt) for row in prompts.itertuples()]
