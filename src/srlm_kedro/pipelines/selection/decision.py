"""Whether a model is worse than the one before it, and what follows.

Figures are written by one node and acted on by the next: when a run stops, they are on disk.
"""

import logging

import numpy as np
import pandas as pd
from pydantic import Field

from srlm_kedro.errors import GateError
from srlm_kedro.judge.judgements import reparse, settled, with_rewards
from srlm_kedro.judge.statistics import tally
from srlm_kedro.params import Params
from srlm_kedro.records import Checkpoint, derive_seed


class RollbackParams(Params):
    """When a model counts as worse than the one before it (paper: not stated, it goes on)."""

    margin: float = Field(0.0, ge=0, le=100)
    """Points of win minus loss (in %): a model is worse when all of the 95% interval lies further
    than this below 0."""
    resamples: int = Field(2000, ge=100, le=1_000_000)
    """Bootstrap resamples of the validation prompts, for the interval."""


SCORES = ["model", "prompt_id", "response_id", "tokens", "reward"]
_DUEL = "selection/win_minus_loss_vs_previous"
_WORSE = "selection/worse"

_log = logging.getLogger(__name__)


def reward_validation_responses(
    validation_responses: pd.DataFrame, validation_judgements: pd.DataFrame
) -> pd.DataFrame:
    """One row a response, columns `SCORES`: `reward` is the mean of its scores, NaN without."""
    read = settled(reparse(validation_judgements))
    return with_rewards(validation_responses, read, min_scores=1)[SCORES]


def compare_with_previous(
    model: Checkpoint,
    validation_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    rollback: RollbackParams,
    seed: int,
) -> dict[str, float]:
    """The model against the one before it, every response of a prompt against every other's.

    Returns:
        As `selection/...`: win minus loss with its 95% interval, in points, `worse` (1 when all of
        the interval lies further below 0 than the margin, else 0), prompts, and rewards and
        lengths of both, in points and tokens. Without a prompt on which both have a reward,
        nothing is said of who is worse.
    """
    figures = {
        **_means(validation_scores, ""),
        **_means(previous_scores, "_previous"),
        "selection/unrewarded": float(validation_scores["reward"].isna().sum()),
    }
    figures = {name: value for name, value in figures.items() if pd.notna(value)}
    won = _outcomes(validation_scores, previous_scores)
    if won.empty:
        _log.warning(
            "%s: no validation prompt has rewards of it and of the model before it, so nobody can "
            "say whether it is worse. Hold rankings back from EFT (`eft.eval_prompts` or "
            "`eft.eval_fraction`), or read the validation judgements.",
            model.name,
        )
        return figures
    previous = previous_scores["model"].iloc[0]
    label = derive_seed(seed, "selection", model.name, previous)
    row = tally(won, rollback.resamples, label)
    worse = row["high"] < -rollback.margin
    figures |= {
        _DUEL: row["win"] - row["loss"],
        f"{_DUEL}_low": row["low"],
        f"{_DUEL}_high": row["high"],
        "selection/prompts": float(row["n"]),
        _WORSE: float(worse),
    }
    if worse:
        _log.warning(
            "%s is worse than %s on the validation prompts: %s (`rollback.margin` %g). What "
            "follows is said by `loop.when_worse`: the next model is made from it all the same "
            "(go_on), not at all (stop), or from the best so far (best).",
            *(model.name, previous, _in_words(figures), rollback.margin),
        )
    return figures


def guard_next(model: Checkpoint, selection_metrics: dict[str, float]) -> dict[str, bool]:
    """Lets the next iteration begin.

    Raises:
        GateError: The model is worse than the one before it; all of both stays on disk.
    """
    if _is_worse(selection_metrics):
        following = f"m{model.iteration + 1}"
        raise GateError(
            f"{model.name} is worse than m{model.iteration - 1} on the validation prompts: "
            f"{_in_words(selection_metrics)}. So {following} is not begun (`loop.when_worse` = "
            "stop); all that was made is kept. Go on from the best so far (`loop.when_worse`: "
            f"best) or from {model.name} all the same (go_on), raise `rollback.margin`, or make "
            f"{model.name} again with a smaller `dpo.learning_rate` or a larger `dpo.beta`."
        )
    return {"checked": True}


def choose_best(
    model: Checkpoint,
    previous_best: Checkpoint,
    selection_metrics: dict[str, float],
    validation_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
) -> tuple[Checkpoint, pd.DataFrame]:
    """The model, or the best before it where it is worse; with the scores to hold the next against.

    `selection_metrics` are those of the model against `previous_best`.
    """
    if not _is_worse(selection_metrics):
        return model, validation_scores
    best = previous_scores["model"].iloc[0]
    _log.warning("%s stands back: what follows starts from %s, the best so far.", model.name, best)
    return previous_best, previous_scores


def _outcomes(own: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """1, 0 or -1 for each pair of rewarded responses to one prompt, by prompt."""
    columns = ["prompt_id", "reward"]
    pairs = own[columns].merge(others[columns], on="prompt_id", suffixes=("", "_other"))
    difference = (pairs["reward"] - pairs["reward_other"]).to_numpy(float)
    return pd.Series(np.sign(difference), pairs["prompt_id"]).dropna()


def _means(scores: pd.DataFrame, suffix: str) -> dict[str, float]:
    return {
        f"selection/mean_reward{suffix}": float(scores["reward"].mean()),
        f"selection/mean_length{suffix}": float(scores["tokens"].mean()),
    }


def _is_worse(metrics: dict[str, float]) -> bool:
    return metrics.get(_WORSE, 0.0) > 0


def _in_words(metrics: dict[str, float]) -> str:
    return (
        f"win minus loss {metrics[_DUEL]:+.1f} points (95% interval {metrics[f'{_DUEL}_low']:+.1f} "
        f"to {metrics[f'{_DUEL}_high']:+.1f}) on {metrics['selection/prompts']:.0f} prompts, mean "
        f"reward {metrics['selection/mean_reward']:.2f} after "
        f"{metrics['selection/mean_reward_previous']:.2f}"
    )
