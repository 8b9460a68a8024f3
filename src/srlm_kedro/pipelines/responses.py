"""N candidate responses to each new prompt. Paper: section 2.2, generate candidate responses."""

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import Field

from srlm_kedro.engines.generation.base import GenerationEngine, Request, StageSampling
from srlm_kedro.params import Params
from srlm_kedro.records import Checkpoint, derive_seed


class CandidateSampling(StageSampling):
    """How candidates are drawn. Paper: section 3.1, temperature 0.7 and top-p 0.9."""

    n: int = Field(4, ge=2, le=1000)
    """N, candidates per prompt (paper: 4). A pair needs two."""


class ResponsesParams(Params):
    """From prompts to candidate responses."""

    sampling: CandidateSampling = CandidateSampling()
    """How many candidates are drawn, and how."""


COLUMNS = ["prompt_id", "response_id", "prompt", "response", "tokens", "finish", "thought"]


def draw_responses(
    policy: Checkpoint,
    prompts: pd.DataFrame,
    generation_engine: GenerationEngine,
    responses: ResponsesParams,
    seed: int,
) -> pd.DataFrame:
    """One row per response, raw, N for each prompt, in the order of the prompts.

    A prompt that leaves the policy no room for the longest response gets empty responses, whose
    `finish` is `no_room`.
    """
    requests = [Request(row.prompt_id, row.prompt, optional=True) for row in prompts.itertuples()]
    drawn = generation_engine.generate(
        policy, requests, responses.sampling, derive_seed(seed, "responses")
    )
    rows = [
        (
            request.id,
            f"{request.id}-r{number}",
            request.prompt,
            completion.text,
            completion.tokens,
            completion.finish,
            completion.thought,
        )
        for request, completions in zip(requests, drawn, strict=True)
        for number, completion in enumerate(completions)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def create_pipeline() -> Pipeline:
    """`policy`, `prompts` -> `responses`."""
    return Pipeline(
        [
            Node(
                draw_responses,
                ["policy", "prompts", "generation_engine", "params:responses", "params:seed"],
                "responses",
                name="draw_responses",
            )
        ]
    )
