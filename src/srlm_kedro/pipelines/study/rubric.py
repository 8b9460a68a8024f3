"""Does the judge read its rubric? Then the same words in another order cost it accuracy."""

import random
import re

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.judge.judgements import judge_responses
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.evaluation.reward_modelling import measure_reward_modelling
from srlm_kedro.pipelines.study.params import StudyParams
from srlm_kedro.records import Checkpoint, derive_seed

VERSION = 1

_STAYS = re.compile(r".*\{|\s*(<[^<>]*>|\[[^\[\]]*\])?\s*$")
"""A line with a place to fill, a tag alone, or nothing."""


def judge_shuffled(
    model: Checkpoint,
    eft_eval: pd.DataFrame,
    judge_prompt: str,
    generation_engine: GenerationEngine,
    evaluation: EvaluationParams,
    study: StudyParams,
    seed: int,
) -> pd.DataFrame:
    """Judgements of the EFT eval split under shuffled judge prompts; `order` numbers those.

    Drawn as those under the judge prompt itself are, but never asked for again: a judge that has
    lost its rubric may well give no score.
    """
    tables = []
    for order in range(study.shuffles):
        own_seed = derive_seed(seed, f"shuffled rubric {order}")
        template = shuffled(judge_prompt, random.Random(own_seed))
        judgements = judge_responses(
            generation_engine, model, template, eft_eval, evaluation.judging, own_seed
        )
        tables.append(judgements.assign(model=model.name, order=order))
    return pd.concat(tables, ignore_index=True)


def shuffled(template: str, rng: random.Random) -> str:
    """The template with its words in random order, as many a line as before.

    Lines with a place to fill, and those that are a tag alone, stay as they are.
    """
    lines = [line if _STAYS.match(line) else line.split() for line in template.split("\n")]
    words = [word for line in lines if isinstance(line, list) for word in line]
    rng.shuffle(words)
    left = iter(words)
    return "\n".join(
        line if isinstance(line, str) else " ".join(next(left) for _ in line) for line in lines
    )


def measure_rubric(
    eft_eval: pd.DataFrame, shuffled_judgements: pd.DataFrame, reward_modelling: pd.DataFrame
) -> dict[str, float]:
    """Pairwise accuracy in %, under the judge prompt and under shuffled ones (their mean).

    A tie or a missing score counts as wrong, as in `measure_reward_modelling`;
    `study/rubric_unscored` is the % of judgements under shuffled ones that carry no score.
    """
    rows = pd.concat(
        measure_reward_modelling(eft_eval, judgements)
        for _, judgements in shuffled_judgements.groupby("order")
    )
    return {
        "study/rubric_right": float(reward_modelling["pairwise_accuracy"].iloc[0]),
        "study/rubric_right_shuffled": float(rows["pairwise_accuracy"].mean()),
        "study/rubric_unscored": 100 * (1 - float(rows["parse_rate"].mean())),
    }
