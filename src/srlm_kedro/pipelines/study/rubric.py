"""Whether M1 reads its judge prompt: if it does, the same words in random order cost accuracy."""

import random
import re
from typing import Annotated

import pandas as pd
from pydantic import Field

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.judge.judgements import COLUMNS, judge_responses
from srlm_kedro.judge.prompt import INSTRUCTION, RESPONSE
from srlm_kedro.judge.statistics import measure_reward_modelling
from srlm_kedro.params import Params, Reads
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.records import Checkpoint, derive_seed

_TAG = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")


class RubricParams(Params):
    """The parameters `rubric`, apart from `study`, so that a change remakes no other figure."""

    shuffles: int = Field(3, ge=1, le=1000)
    """Number of random orders of the judge prompt's words."""


def judge_shuffled(
    model: Checkpoint,
    eft_eval: pd.DataFrame,
    judge_prompt: str,
    generation_engine: GenerationEngine,
    evaluation: Annotated[EvaluationParams, Reads("judging")],
    rubric: RubricParams,
    seed: int,
) -> pd.DataFrame:
    """Judgements of the ranked responses under shuffled judge prompts, numbered by `order`.

    They are drawn as those under the judge prompt itself, but without retries. There are none if
    the judge prompt has no words to shuffle.
    """
    tables = [pd.DataFrame(columns=[*COLUMNS, "model", "order"])]
    for order in range(rubric.shuffles):
        order_seed = derive_seed(seed, f"shuffled rubric {order}")
        template = shuffled(judge_prompt, random.Random(order_seed))
        if template != judge_prompt and len(eft_eval):
            judgements = judge_responses(
                generation_engine, model, template, eft_eval, evaluation.judging, order_seed
            ).whole()
            tables.append(judgements.assign(model=model.name, order=order))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def shuffled(template: str, rng: random.Random) -> str:
    """The template with its words in random order; each line keeps its number of words.

    Lines with a place to fill, and lines that are only a tag, do not change.
    """
    lines = [line if _stays(line) else line.split() for line in template.split("\n")]
    words = [word for line in lines if isinstance(line, list) for word in line]
    rng.shuffle(words)
    shuffled_words = iter(words)
    return "\n".join(
        line if isinstance(line, str) else " ".join(next(shuffled_words) for _ in line)
        for line in lines
    )


def _stays(line: str) -> bool:
    return INSTRUCTION in line or RESPONSE in line or bool(_TAG.fullmatch(line.strip()))


def measure_rubric(
    eft_eval: pd.DataFrame, shuffled_judgements: pd.DataFrame, reward_modelling: pd.DataFrame
) -> dict[str, float]:
    """Pairwise accuracy in % under the judge prompt, and under all shuffled ones together.

    It is of the pairs that people ranked differently and whose responses both have a score, because
    shuffled words also break the format of the score. `study/rubric_unscored` is the % of pairs
    without a score under the shuffled prompts. Figures of no pairs are left out.
    """
    tables = [table for _, table in shuffled_judgements.groupby("order")]
    if not tables:
        return {}
    rows = pd.concat([measure_reward_modelling(eft_eval, table) for table in tables])
    figures = {
        "rubric_right": _right(reward_modelling),
        "rubric_right_shuffled": _right(rows),
        "rubric_unscored": _share(rows["unscored_pairs"], rows["pairs"]),
    }
    return {f"study/{name}": value for name, value in figures.items() if pd.notna(value)}


def _right(rows: pd.DataFrame) -> float:
    right = rows["pairwise_accuracy"] / 100 * rows["pairs"]
    return _share(right, rows["pairs"] - rows["unscored_pairs"])


def _share(part: pd.Series, whole: pd.Series) -> float:
    """In %; NaN if the whole is 0."""
    return 100 * float(part.sum()) / float(whole.sum()) if whole.sum() else float("nan")
