"""Who answers better: a model against the one before it and against the SFT baseline.

Paper: section 3.1, every comparison is made in both orders, and disagreement is a tie.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.evaluation.referee import (
    ComparingReferee,
    Comparison,
    Referee,
    Verdict,
)
from srlm_kedro.records import derive_seed

VERSION = 1

COLUMNS = ["model", "opponent", "win", "tie", "loss", "n", "low", "high"]
"""One row an opponent: win, tie, loss in %, n prompts; low and high bound win minus loss."""
_NUMBERS = {"first": 1.0, "tie": 0.0, "second": -1.0, None: float("nan")}
_INTERVAL = (2.5, 97.5)


def compare_with_elders(
    model_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    referee: Referee,
    evaluation: EvaluationParams,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The model against its predecessor and against the baseline: a row each, and as metrics.

    M1's predecessor is the baseline, which makes one row.
    """
    rows: dict[str, dict] = {}
    metrics: dict[str, float] = {}
    for role, scores in {"previous": previous_scores, "sft": baseline_scores}.items():
        opponent = scores["model"].iloc[0]
        if opponent not in rows:
            rows[opponent] = head_to_head(model_scores, scores, referee, evaluation, seed)
        row, name = rows[opponent], f"eval/win_minus_loss_vs_{role}"
        metrics |= {
            name: row["win"] - row["loss"],
            f"{name}_low": row["low"],
            f"{name}_high": row["high"],
        }
    return pd.DataFrame(list(rows.values()), columns=COLUMNS), metrics


def head_to_head(
    model_scores: pd.DataFrame,
    opponent_scores: pd.DataFrame,
    referee: Referee,
    evaluation: EvaluationParams,
    seed: int,
) -> dict:
    """Win, tie and loss on sampled responses, and the 95% interval of win minus loss.

    Shares are taken within each prompt and then over prompts, which the bootstrap resamples:
    the responses to one prompt are no independent cases. Comparisons without a verdict are left
    out, and so are prompts without any.
    """
    model, opponent = model_scores["model"].iloc[0], opponent_scores["model"].iloc[0]
    pairs = _pairs(model_scores, opponent_scores, evaluation.pairing)
    shown, swapped = _both_orders(pairs, referee)
    won = pd.Series(settle(shown, swapped), pairs["prompt_id"]).dropna()
    if won.empty:
        raise ValueError(
            f"head to head: {model} and {opponent} share no prompt with a verdict of the referee "
            f"({len(pairs)} comparisons). Evaluate both on the same `eval_prompts`."
        )
    outcomes = pd.DataFrame({"win": won > 0, "tie": won == 0, "loss": won < 0})
    shares = 100 * outcomes.groupby(level=0, sort=False).mean()
    margins = (shares["win"] - shares["loss"]).to_numpy()
    label = derive_seed(seed, "head to head", model, opponent)
    low, high = bootstrap_interval(margins, evaluation.resamples, label)
    mean = {name: float(value) for name, value in shares.mean().items()}
    counted = {"n": len(shares), "low": low, "high": high}
    return {"model": model, "opponent": opponent, **mean, **counted}


def settle(shown: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """1 (win), 0 (tie) or -1 (loss) for the model from verdicts in both orders.

    Paper: section 3.1, where the two disagree it is a tie.

    Args:
        shown: Verdicts with the model's response first: 1 for the first, -1 for the second, 0 for
            a tie, NaN for none.
        swapped: The same with the opponent's response first.
    """
    agreed = np.where(shown == -swapped, shown, 0.0)
    return np.where(np.isnan(shown) | np.isnan(swapped), np.nan, agreed)


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """The 95% percentile interval of the mean of `values`, one a prompt."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), _INTERVAL)
    return float(low), float(high)


def _pairs(model: pd.DataFrame, opponent: pd.DataFrame, pairing: str) -> pd.DataFrame:
    """Comparisons to make, row by row: `response` and `score`, with `_other` the opponent's."""
    columns = ["prompt_id", "sample", "response", "score"]
    own = model.loc[model["mode"] == "sampled", [*columns, "prompt"]]
    others = opponent.loc[opponent["mode"] == "sampled", columns]
    keys = ["prompt_id"] if pairing == "all" else ["prompt_id", "sample"]
    return own.merge(others, on=keys, suffixes=("", "_other"))


def _both_orders(pairs: pd.DataFrame, referee: Referee) -> tuple[np.ndarray, np.ndarray]:
    first, second = ("response", "score"), ("response_other", "score_other")
    return _verdicts(pairs, first, second, referee), _verdicts(pairs, second, first, referee)


def _verdicts(
    pairs: pd.DataFrame, first: tuple[str, str], second: tuple[str, str], referee: Referee
) -> np.ndarray:
    """1, 0, -1 or NaN for each pair as shown; by the scores unless the referee compares."""
    if not isinstance(referee, ComparingReferee):
        return np.sign((pairs[first[1]] - pairs[second[1]]).to_numpy(float))
    texts = zip(pairs["prompt"], pairs[first[0]], pairs[second[0]], strict=True)
    return _numbers(referee.compare([Comparison(*text) for text in texts]))


def _numbers(verdicts: Sequence[Verdict | None]) -> np.ndarray:
    return np.array([_NUMBERS[verdict] for verdict in verdicts], dtype=float)
