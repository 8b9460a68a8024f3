"""The SFT baseline judges responses that people have ranked. Paper: section 3.1, EFT seed data."""

import random
from typing import Annotated

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.judgements import COLUMNS, judge_responses, reparse
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.eft.params import EftParams, ranked_judgement
from srlm_kedro.records import Checkpoint, derive_seed

_BEST = 5


def split_eft(
    eft_ranked: pd.DataFrame, ift: pd.DataFrame, eft: EftParams, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ranked responses to train a judge on and those to measure judges by, apart by prompt.

    The split depends on the prompts and the seed alone, and comes before any judgement.

    Raises:
        InputError: A prompt stands in IFT too, or nothing is left on one side.
    """
    keys = _normal(eft_ranked["prompt"])
    shared = eft_ranked[keys.isin(set(_normal(ift["prompt"])))].drop_duplicates("prompt_id")
    if len(shared):
        faults = [f"{row.prompt_id}: {row.prompt[:60]!r}" for row in shared.itertuples()]
        heading = f"eft: {len(faults)} prompts stand in IFT too; the sets must be apart. Remove:"
        raise InputError(summary(heading, faults))
    prompts = sorted(keys.unique())
    held = eft.held(len(prompts))
    if not 0 < held < len(prompts):
        raise InputError(
            f"eft: {held} prompts to hold back of {len(prompts)} (`eft.eval_prompts`, "
            "`eft.eval_fraction`): none is left to train on, or to measure judges by."
        )
    drawn = random.Random(derive_seed(seed, "eft split")).sample(prompts, held)
    is_held = keys.isin(drawn)
    return (
        eft_ranked[~is_held].reset_index(drop=True),
        eft_ranked[is_held].reset_index(drop=True),
    )


def judge_ranked(
    baseline: Checkpoint,
    eft_pool: pd.DataFrame,
    judge_prompt: str,
    generation_engine: GenerationEngine,
    eft: Annotated[EftParams, Reads("sampling")],
    seed: int,
) -> pd.DataFrame:
    """The baseline's judgements of the ranked responses, raw; none is asked for twice."""
    return judge_responses(
        generation_engine,
        baseline,
        judge_prompt,
        eft_pool,
        eft.sampling,
        derive_seed(seed, "eft"),
    )


def rank_as_judged(eft_pool: pd.DataFrame) -> pd.DataFrame:
    """Judgements that say where people ranked a response: best 5, worst 1, others between.

    Deviation: the paper's baseline, 70B, writes judgements itself. A model too small to follow the
    rubric before it has seen one learns from these; rank agreement then holds by construction.
    """
    groups = eft_pool.groupby("prompt_id")["rank"]
    place = groups.rank(method="dense").astype(int)
    places = place.groupby(eft_pool["prompt_id"]).transform("max")
    share = (places - place) / (places - 1).clip(lower=1)
    scores = (1 + (_BEST - 1) * share + 0.5).astype(int)
    texts = map(ranked_judgement, place, places, scores)
    rows = [
        (name, 0, 0, text, "stop", "")
        for name, text in zip(eft_pool["response_id"], texts, strict=True)
    ]
    return reparse(pd.DataFrame(rows, columns=COLUMNS[:6]))


def _normal(prompts: pd.Series) -> pd.Series:
    return prompts.str.split().str.join(" ").str.lower()
