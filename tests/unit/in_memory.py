"""Stages that make and take tables in parts, with tables in memory."""

from typing import Any

import pandas as pd

from srlm_kedro.parts import Parts
from srlm_kedro.pipelines import responses as drawing
from srlm_kedro.pipelines.judging import consistency, nodes, rewards
from srlm_kedro.pipelines.reporting import report


def draw_responses(*arguments: Any, **named: Any) -> pd.DataFrame:
    return drawing.draw_responses(*arguments, **named).whole()


def judge_candidates(*arguments: Any, **named: Any) -> pd.DataFrame:
    return nodes.judge_candidates(*arguments, **named).whole()


def reward_responses(
    responses: pd.DataFrame, judgements: pd.DataFrame, *others: Any, **named: Any
) -> tuple[pd.DataFrame, dict[str, float]]:
    return rewards.reward_responses(responses, Parts.of(judgements), *others, **named)


def measure_consistency(
    responses: pd.DataFrame, judgements: pd.DataFrame, elder: pd.DataFrame, *others: Any
) -> dict[str, float]:
    return consistency.measure_consistency(
        responses, Parts.of(judgements), Parts.of(elder), *others
    )


def pick_judged(judged: pd.DataFrame, judgements: pd.DataFrame, seed: int) -> pd.DataFrame:
    return report.pick_judged(judged, Parts.of(judgements), seed)
