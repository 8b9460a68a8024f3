"""Whether a model is worse than the one before it, and what follows.

One node writes the figures and the next acts on them, so they are on disk when a run stops.
"""

import logging

import numpy as np
import pandas as pd
from pydantic import Field

from srlm_kedro.errors import GateError
from srlm_kedro.judge.judgements import merge_attempts, reparse
from srlm_kedro.judge.statistics import tally, with_rewards
from srlm_kedro.params import Params
from srlm_kedro.records import Checkpoint, derive_seed


class RollbackParams(Params):
    """The parameters `rollback`: when a model counts as worse (paper: not stated).

    They are apart from `selection`, so that another margin needs no new responses.
    """

    margin: float = Field(0.0, ge=0, le=100)
    """A model is worse if the whole 95% interval of win minus loss, in points of 100, is more than
    this below 0."""
    resamples: int = Field(2000, ge=100, le=1_000_000)
    """Bootstrap resamples of the validation prompts, for the interval."""


SCORES = ["model", "prompt_id", "response_id", "tokens", "reward"]
_DUEL = "selection/win_minus_loss_vs_previous"
_WORSE = "selection/worse"

_log = logging.getLogger(__name__)


def reward_validation_responses(
    validation_responses: pd.DataFrame, validation_judgements: pd.DataFrame
) -> pd.DataFrame:
    """One row per response, columns `SCORES`; `reward` is the mean of its scores, or NaN."""
    read = merge_attempts(reparse(validation_judgements))
    return with_rewards(validation_responses, read, min_scores=1)[SCORES]


def compare_with_previous(
    model: Checkpoint,
    validation_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    rollback: RollbackParams,
    seed: int,
) -> dict[str, float]:
    """The model against the one before it: each response to a prompt against each of the other.

    Returns:
        As `selection/...`: win minus loss with its 95% interval, in points of 100; `worse` (1 if
        the whole interval is further below 0 than the margin, else 0); the number of prompts; the
        mean reward and the mean length in tokens of both; `unrewarded`, the model's responses
        without a reward. If no prompt has a reward from both models, only the means and
        `unrewarded`.
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
            "%s: it and the model before it have no validation prompt in common on which both have "
            "a reward, so it is unknown whether it is worse. Hold back more of EFT "
            "(`eft.eval_prompts` or `eft.eval_fraction`), or read the validation judgements.",
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
            "%s is worse than %s on the validation prompts: %s (`rollback.margin` %g). "
            "`loop.when_worse` decides: the next model is made from it all the same (go_on), from "
            "the best so far (best), or not at all (stop).",
            *(model.name, previous, _described(figures), rollback.margin),
        )
    return figures


def guard_next(model: Checkpoint, selection_metrics: dict[str, float]) -> dict[str, bool]:
    """Accepts the model as the start of the next iteration, if `loop.when_worse` is `stop`.

    Raises:
        GateError: The model is worse than the one before it; both stay on disk.
    """
    if _is_worse(selection_metrics):
        following = f"m{model.iteration + 1}"
        raise GateError(
            f"{model.name} is worse than m{model.iteration - 1} on the validation prompts: "
            f"{_described(selection_metrics)}. So {following} is not begun (`loop.when_worse` = "
            "stop); all results are kept. Go on from the best so far (`loop.when_worse`: "
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
    """The best model so far, and its scores: the model, or `previous_best` if the model is worse.

    `selection_metrics` compare the model with `previous_best`.
    """
    if not _is_worse(selection_metrics):
        return model, validation_scores
    best = previous_scores["model"].iloc[0]
    _log.warning(
        "%s is not used: the next model starts from %s, the best so far.", model.name, best
    )
    return previous_best, previous_scores


def _outcomes(scores: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """1, 0 or -1 for each two rewarded responses to one prompt; the index is the prompt."""
    columns = ["prompt_id", "reward"]
    pairs = scores[columns].merge(others[columns], on="prompt_id", suffixes=("", "_other"))
    difference = (pairs["reward"] - pairs["reward_other"]).to_numpy(float)
    return pd.Series(np.sign(difference), pairs["prompt_id"]).dropna()


def _means(scores: pd.DataFrame, suffix: str) -> dict[str, float]:
    return {
        f"selection/mean_reward{suffix}": float(scores["reward"].mean()),
        f"selection/mean_length{suffix}": float(scores["tokens"].mean()),
    }


def _is_worse(metrics: dict[str, float]) -> bool:
    return metrics.get(_WORSE, 0.0) > 0


def _described(metrics: dict[str, float]) -> str:
    return (
        f"win minus loss {metrics[_DUEL]:+.1f} points (95% interval {metrics[f'{_DUEL}_low']:+.1f} "
        f"to {metrics[f'{_DUEL}_high']:+.1f}) on {metrics['selection/prompts']:.0f} prompts, mean "
        f"reward {metrics['selection/mean_reward']:.2f} after "
        f"{metrics['selection/mean_reward_previous']:.2f}"
    )
