"""Verifiable rewards: a program that knows the true score judges in place of the model, or with it.

Source: Bridging Offline and Online Reinforcement Learning for LLMs (2506.21495).
"""

from typing import Annotated

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.errors import GateError
from srlm_kedro.judge.criteria import JudgePrompt
from srlm_kedro.judge.judgements import candidate_status, given_judgements
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.judging.nodes import JudgingParams, judge_candidates
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.base import KnowingReferee, Referee


def check_candidates(
    checker: Referee,
    responses: pd.DataFrame,
    judging: Annotated[JudgingParams, Reads("cut", "empty")],
) -> pd.DataFrame:
    """The checker's judgement of each candidate; its text are the checker's reasons.

    A prompt that the checker does not understand gives its responses no score.

    Raises:
        GateError: The checker understands no prompt.
    """
    candidates = responses[candidate_status(responses, judging.cut, judging.empty) == "ok"]
    rows = _understood(candidates, checker)
    if len(candidates) and not len(rows):
        raise GateError(
            f"checker: it understands none of {candidates['prompt_id'].nunique()} prompts, such as "
            f"{candidates['prompt'].iloc[0][:60]!r}, so no response can be rewarded "
            "(`loop.reward`). Name a checker of these prompts in the catalog, or use "
            "`loop.reward: judge`."
        )
    found = checker.assess_all(list(zip(rows["prompt"], rows["response"], strict=True)))
    return given_judgements(
        rows["response_id"],
        texts=[" ".join(one.reasons) for one in found],
        scores=[one.score for one in found],
    )


def judge_and_check(
    checker: Referee,
    judge: Checkpoint,
    responses: pd.DataFrame,
    judge_prompt: JudgePrompt,
    judge_engine: GenerationEngine,
    judging: Annotated[JudgingParams, Reads("sampling", "retries", "cut", "empty")],
    seed: int,
) -> pd.DataFrame:
    """The judge's judgements of each candidate, and behind them the checker's.

    The checker is asked first: it costs little, and may stop the run.
    """
    checked = check_candidates(checker, responses, judging)
    judged = judge_candidates(judge, responses, judge_prompt, judge_engine, judging, seed).whole()
    after = 1 + int(judged["k"].max()) if len(judged) else 0
    return pd.concat([judged, checked.assign(k=after)], ignore_index=True)


def _understood(rows: pd.DataFrame, checker: Referee) -> pd.DataFrame:
    if not isinstance(checker, KnowingReferee):
        return rows
    return rows[[checker.understands(prompt) for prompt in rows["prompt"]]]
