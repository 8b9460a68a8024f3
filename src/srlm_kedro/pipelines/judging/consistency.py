"""How far two judges, M_(t-1) and M_(t-2), agree on the order of the same responses.

Source: CREAM (2410.12735). The less they agree, the less the rewards can be trusted.
"""

import pandas as pd

from srlm_kedro.errors import GateError
from srlm_kedro.judge.judgements import merge_attempts, read_parts
from srlm_kedro.judge.statistics import with_rewards
from srlm_kedro.parts import Parts
from srlm_kedro.pipelines.judging.nodes import JudgingParams


def measure_consistency(
    responses: pd.DataFrame,
    judgements: Parts,
    elder_judgements: Parts,
    judging: JudgingParams,
) -> dict[str, float]:
    """Kendall's tau between two judges' rewards, as a mean over prompts; the rate is (tau + 1) / 2.

    A prompt counts as `undecided`, and not in the mean, if a judge gives all its responses one
    reward.

    Raises:
        GateError: All prompts are undecided.
    """
    taus = kendall_taus(
        with_rewards(responses, merge_attempts(read_parts(judgements)), judging.min_scores),
        with_rewards(responses, merge_attempts(read_parts(elder_judgements)), judging.min_scores),
    )
    if taus.isna().all():
        raise GateError(
            f"consistency: on none of {len(taus)} prompts do both judges rank the responses. One "
            "of them, or both, give all responses one reward (`loop.soft_labels`). Draw more "
            f"judgements per response (`judging.sampling.n`, now {judging.sampling.n}), or set "
            "`loop.soft_labels: false`."
        )
    tau = float(taus.mean())
    return {
        "consistency/kendall_tau": tau,
        "consistency/rate": (tau + 1) / 2,
        "consistency/prompts": float(taus.notna().sum()),
        "consistency/undecided": float(taus.isna().sum()),
    }


def kendall_taus(judged: pd.DataFrame, elder: pd.DataFrame) -> pd.Series:
    """Kendall's tau-b of two judges' rewards, by prompt; NaN if a judge gives equal rewards."""
    both = judged[["prompt_id", "reward"]].assign(elder=elder["reward"]).dropna()
    prompts = dict(tuple(both.groupby("prompt_id")))
    taus = {
        name: _tau(prompts[name]) if name in prompts else float("nan")
        for name in judged["prompt_id"].unique()
    }
    return pd.Series(taus, dtype=float)


def _tau(rows: pd.DataFrame) -> float:
    if rows["reward"].nunique() < 2 or rows["elder"].nunique() < 2:
        return float("nan")
    from scipy.stats import kendalltau

    return float(kendalltau(rows["reward"], rows["elder"]).statistic)
