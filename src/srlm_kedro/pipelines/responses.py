"""N candidate responses to each new prompt. Paper: section 2.2, generate candidate responses."""

from collections.abc import Iterator, Sequence

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import Field

from srlm_kedro.engines.generation.base import (
    Completion,
    GenerationEngine,
    Request,
    StageSampling,
)
from srlm_kedro.params import Params
from srlm_kedro.parts import Parts, tables
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
) -> Parts:
    """One row per response, raw, N for each prompt, in the order of the prompts.

    A prompt that leaves the policy no room for the longest response gets empty responses, whose
    `finish` is `no_room`.
    """
    requests = [Request(row.prompt_id, row.prompt, optional=True) for row in prompts.itertuples()]
    drawn = generation_engine.generate(
        policy, requests, responses.sampling, derive_seed(seed, "responses")
    )
    return Parts(lambda: tables(_rows(requests, drawn), COLUMNS))


def _rows(
    requests: Sequence[Request], drawn: Sequence[Sequence[Completion]]
) -> Iterator[tuple[str, str, str, str, int, str, str]]:
    """Rows of `COLUMNS`."""
    for request, completions in zip(requests, drawn, strict=True):
        for number, one in enumerate(completions):
            name = f"{request.id}-r{number}"
            yield request.id, name, request.prompt, one.text, one.tokens, one.finish, one.thought


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
