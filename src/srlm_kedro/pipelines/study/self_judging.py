"""How each model judges its own answers, whose true scores the referee knows."""

from typing import Annotated

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.judge.criteria import JudgePrompt
from srlm_kedro.judge.judgements import judge_responses, merge_attempts, reparse
from srlm_kedro.judge.statistics import with_rewards
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.study.accuracy import accuracy, accuracy_figures
from srlm_kedro.pipelines.study.params import StudyParams
from srlm_kedro.records import Checkpoint, derive_seed, draw_sample


def choose_own(eval_scores: pd.DataFrame, study: StudyParams, seed: int) -> pd.DataFrame:
    """The sampled responses that the model is to judge; all models get the same prompts.

    A prompt with fewer than two responses of known score is left out: it has nothing to order.
    """
    rows = eval_scores[(eval_scores["mode"] == "sampled") & eval_scores["score"].notna()]
    comparable = rows[rows.groupby("prompt_id")["score"].transform("size") > 1]
    ids = sorted(eval_scores["prompt_id"].unique())
    asked = draw_sample(ids, study.own_prompts, seed, "study")
    return comparable[comparable["prompt_id"].isin(asked)]


def judge_own(
    model: Checkpoint,
    own_responses: pd.DataFrame,
    judge_prompt: JudgePrompt,
    generation_engine: GenerationEngine,
    evaluation: Annotated[EvaluationParams, Reads("judging", "retries")],
    seed: int,
) -> pd.DataFrame:
    """The model's judgements of its own responses, all attempts, raw.

    They are drawn as those of the ranked responses that EFT held back.
    """
    return judge_responses(
        generation_engine,
        model,
        judge_prompt,
        own_responses,
        evaluation.judging,
        derive_seed(seed, "own"),
        evaluation.retries,
    ).whole()


def reward_own(own_responses: pd.DataFrame, own_judgements: pd.DataFrame) -> pd.DataFrame:
    """The judged responses with `reward`, the mean of their scores, and the referee's columns."""
    return with_rewards(own_responses, merge_attempts(reparse(own_judgements)), min_scores=1)


def measure_own(
    model: Checkpoint, own_rewards: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, float]]:
    """`own_accuracy`, and its figures as `study/own_...`."""
    table = accuracy(own_rewards, model.name)
    figures = accuracy_figures(table, "own")
    figures["own_unrewarded"] = float(own_rewards["reward"].isna().sum())
    return table, {f"study/{name}": value for name, value in figures.items()}
