"""How far a judge and the one before it order the same responses alike.

Source: CREAM (2410.12735): where they disagree, the rewards deserve less trust.
"""

import pandas as pd

from srlm_kedro.errors import GateError
from srlm_kedro.judge.judgements import reparse, settled, with_rewards
from srlm_kedro.pipelines.judging.nodes import JudgingParams


def measure_consistency(
    responses: pd.DataFrame,
    judgements: pd.DataFrame,
    elder_judgements: pd.DataFrame,
    judging: JudgingParams,
) -> dict[str, float]:
    """Mean Kendall tau between two judges' rewards within a prompt, and the rate (tau + 1) / 2.

    Prompts on which a judge ties all responses say nothing; they are counted in `undecided`.

    Raises:
        GateError: The judges order the responses to no prompt.
    """
    taus = kendall_taus(
        with_rewards(responses, settled(reparse(judgements)), judging.min_scores),
        with_rewards(responses, settled(reparse(elder_judgements)), judging.min_scores),
    )
    if taus.isna().all():
        raise GateError(
            f"consistency: of {len(taus)} prompts there is none whose responses both judges put "
            "in an order (`loop.soft_labels`). Draw more judgements a response "
            f"(`judging.sampling.n`, now {judging.sampling.n}), or set `loop.soft_labels: false`."
        )
    tau = float(taus.mean())
    return {
        "consistency/kendall_tau": tau,
        "consistency/rate": (tau + 1) / 2,
        "consistency/prompts": float(taus.notna().sum()),
        "consistency/undecided": float(taus.isna().sum()),
    }


def kendall_taus(judged: pd.DataFrame, elder: pd.DataFrame) -> pd.Series:
    """Kendall's tau (b) of two judges' rewards, a prompt; NaN where one of them ties them all."""
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
