"""Each model answers the held-out prompts and judges the ranked responses that EFT held back."""

from typing import Annotated

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.judge.criteria import JudgePrompt
from srlm_kedro.judge.judgements import judge_responses
from srlm_kedro.judge.statistics import METRICS
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.records import Checkpoint, derive_seed
from srlm_kedro.referee.base import KINDS, Referee, assessment_table

COLUMNS = [
    *("model", "prompt_id", "response_id", "prompt", "kind", "seen"),
    *("mode", "sample", "response", "tokens", "finish", "thought"),
]
"""Columns of `eval_responses`. `mode` is `sampled` or `greedy`; `sample` counts within a mode."""
_SCORES = range(6)


def draw_eval_responses(
    model: Checkpoint,
    eval_prompts: pd.DataFrame,
    generation_engine: GenerationEngine,
    evaluation: Annotated[EvaluationParams, Reads("sampling", "greedy")],
    seed: int,
) -> pd.DataFrame:
    """Responses to the held-out prompts: `sampling.n` sampled ones for each, and a greedy one."""
    modes = {"sampled": evaluation.sampling}
    if evaluation.greedy:
        modes["greedy"] = evaluation.sampling.model_copy(update={"n": 1, "temperature": 0.0})
    requests = [Request(row.id, row.prompt) for row in eval_prompts.itertuples()]
    rows = []
    for mode, sampling in modes.items():
        drawn = generation_engine.generate(
            model, requests, sampling, derive_seed(seed, "evaluation")
        )
        rows += [
            (
                *(model.name, asked.id, f"{model.name}-{asked.id}-{mode[0]}{sample}"),
                *(asked.prompt, asked.kind, asked.seen, mode, sample),
                *(completion.text, completion.tokens, completion.finish, completion.thought),
            )
            for asked, completions in zip(eval_prompts.itertuples(), drawn, strict=True)
            for sample, completion in enumerate(completions)
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def assess_responses(eval_responses: pd.DataFrame, referee: Referee) -> pd.DataFrame:
    """The responses with the referee's score, its reasons, and each kind of error.

    `score` (0 to 5), and `items_wrong`, `constraints_missed`, `voice_missed` and `extras` (0 to 1)
    are NaN where the referee cannot tell.
    """
    pairs = zip(eval_responses["prompt"], eval_responses["response"], strict=True)
    found = referee.assess_all(list(pairs))
    reasons = [" ".join(one.reasons) for one in found]
    table = assessment_table(found, eval_responses.index)
    return eval_responses.join(table).assign(reasons=pd.Series(reasons, table.index, dtype=str))


def judge_eft_eval(
    model: Checkpoint,
    eft_eval: pd.DataFrame,
    judge_prompt: JudgePrompt,
    generation_engine: GenerationEngine,
    evaluation: Annotated[EvaluationParams, Reads("judging", "retries")],
    seed: int,
) -> pd.DataFrame:
    """The model's judgements of responses that people ranked, raw; column `model` has its name.

    Paper: section 3.2 (reward modelling), each M_t is measured as a judge too.
    """
    judgements = judge_responses(
        generation_engine,
        model,
        judge_prompt,
        eft_eval,
        evaluation.judging,
        derive_seed(seed, "eft eval"),
        evaluation.retries,
    ).whole()
    return judgements.assign(model=model.name)


def measure_model(eval_scores: pd.DataFrame, reward_modelling: pd.DataFrame) -> dict[str, float]:
    """The model's figures as `eval/...`. A figure that does not exist is left out.

    All but `greedy_score` are of sampled responses. `perfect` and `score_<n>` (rounded to whole
    points) are shares of the scored responses, the four kinds of error shares of all responses.
    `mean_length` is in tokens. The judge's figures are those of `measure_reward_modelling`; its
    counts are named `judge_<count>`.
    """
    sampled = eval_scores[eval_scores["mode"] == "sampled"]
    greedy = eval_scores[eval_scores["mode"] == "greedy"]
    scores = sampled["score"].dropna()
    points = (scores + 0.5).astype(int)
    figures = {
        "mean_score": scores.mean(),
        "greedy_score": greedy["score"].mean(),
        "mean_score_seen": sampled.loc[sampled["seen"], "score"].mean(),
        "mean_score_unseen": sampled.loc[~sampled["seen"], "score"].mean(),
        "perfect": (scores == _SCORES[-1]).mean(),
        **{f"score_{score}": (points == score).mean() for score in _SCORES},
        **{kind: sampled[kind].mean() for kind in KINDS.values()},
        "mean_length": sampled["tokens"].mean(),
        "mean_characters": sampled["response"].str.len().mean(),
        "cut_off": (sampled["finish"] == "length").mean(),
        "unscored": float(sampled["score"].isna().sum()),
        **_judge_figures(reward_modelling),
    }
    return {f"eval/{name}": float(value) for name, value in figures.items() if pd.notna(value)}


def _judge_figures(reward_modelling: pd.DataFrame) -> dict[str, float]:
    row = reward_modelling.drop(columns="model").iloc[0].to_dict()
    return {name if name in METRICS else f"judge_{name}": value for name, value in row.items()}
