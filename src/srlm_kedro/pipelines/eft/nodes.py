"""The SFT baseline judges responses that people ranked. Paper: section 3.1, EFT seed data."""

import random
from typing import Annotated

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.errors import InputError, summary
from srlm_kedro.judge.criteria import JudgePrompt
from srlm_kedro.judge.first_judgements import FirstJudgements
from srlm_kedro.judge.judgements import COLUMNS, judge_responses, reparse
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.refusals import advice, fault_of
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.eft.params import EftParams, ranked_judgement
from srlm_kedro.records import Checkpoint, derive_seed

_BEST = 5


def split_eft(
    eft_ranked: pd.DataFrame, ift: pd.DataFrame, eft: EftParams, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits the ranked responses by prompt: those to train on, and those to measure judges by.

    The split depends only on the prompts and the seed, and not on any judgement.

    Raises:
        InputError: A prompt occurs in IFT too, or one side of the split is empty.
    """
    keys = _normal(eft_ranked["prompt"])
    shared = eft_ranked[keys.isin(set(_normal(ift["prompt"])))].drop_duplicates("prompt_id")
    if len(shared):
        faults = [f"{row.prompt_id}: {row.prompt[:60]!r}" for row in shared.itertuples()]
        heading = f"eft: {len(faults)} prompts occur in IFT too; the sets must be apart. Remove:"
        raise InputError(summary(heading, faults))
    prompts = sorted(keys.unique())
    held = eft.held(len(prompts))
    if not 0 < held < len(prompts):
        raise InputError(
            f"eft: {held} of {len(prompts)} prompts are to be held back (`eft.eval_prompts`, "
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
    judge_prompt: JudgePrompt,
    generation_engine: GenerationEngine,
    eft: Annotated[EftParams, Reads("sampling")],
    seed: int,
) -> pd.DataFrame:
    """The baseline's judgements of the ranked responses, raw, without retries.

    Raises:
        GateError: None of the first judgements can be used (`eft.give_up_at`).
    """
    first = FirstJudgements(
        "eft",
        len(eft_pool) * eft.sampling.n,
        eft.give_up_at,
        lambda drawn: fault_of(
            parse_score(drawn.text, drawn.finish).reason, drawn.text, drawn.finish, eft.min_words
        ),
        lambda reasons: advice(reasons, "eft.sampling", eft.sampling.max_new_tokens),
    )
    return judge_responses(
        generation_engine,
        baseline,
        judge_prompt,
        eft_pool,
        eft.sampling,
        derive_seed(seed, "eft"),
        watch=first,
    ).whole()


def rank_as_judged(eft_pool: pd.DataFrame) -> pd.DataFrame:
    """Judgements made of the ranks: the best response gets 5, the worst 1, others a score between.

    Deviation: the paper's baseline has 70B weights and writes the judgements itself. These are for
    a model that is too small to follow the rubric before it is trained on it. They agree with the
    ranks by construction.
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
