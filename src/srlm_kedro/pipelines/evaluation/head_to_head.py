"""Head-to-head: wins and losses of a model against its predecessor and the SFT baseline.

Paper: section 3.1, each comparison is made in both orders, and it is a tie if they disagree.
"""

import numpy as np
import pandas as pd

from srlm_kedro.display.safe_text import quoted_end
from srlm_kedro.errors import GateError
from srlm_kedro.judge.statistics import tally
from srlm_kedro.pipelines.evaluation.comparisons import ORDERS, opponents_of, pair_up, reparse
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.records import derive_seed

COLUMNS = ["model", "opponent", "win", "tie", "loss", "n", "low", "high"]
"""Columns of `head_to_head`: one row per opponent. `win`, `tie` and `loss` are in %, `n` counts the
prompts, `low` and `high` are the 95% interval of win minus loss."""
_NUMBERS = {"first": 1.0, "tie": 0.0, "second": -1.0}


def settle_comparisons(
    model_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    verdicts: pd.DataFrame,
    evaluation: EvaluationParams,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The model against its predecessor and against the baseline, one row for each, and as metrics.

    M1 has one row, because its predecessor is the baseline. If the referee compared,
    `eval/verdicts_unparsed` counts its completions without a verdict. `eval/order_disagreement` is
    the share of the comparisons with both verdicts where the two orders disagree.

    Raises:
        GateError: A larger share than `max_unparsed` of the completions has no verdict.
    """
    read = reparse(verdicts)
    _refuse_unparsed(read, evaluation)
    rows = {
        opponent: head_to_head(model_scores, scores, read, evaluation, seed)
        for opponent, scores in opponents_of(previous_scores, baseline_scores).items()
    }
    metrics: dict[str, float] = {}
    for role, scores in {"previous": previous_scores, "sft": baseline_scores}.items():
        row, name = rows[scores["model"].iloc[0]], f"eval/win_minus_loss_vs_{role}"
        metrics |= {
            name: row["win"] - row["loss"],
            f"{name}_low": row["low"],
            f"{name}_high": row["high"],
        }
    table = pd.DataFrame(list(rows.values()), columns=COLUMNS)
    return table, metrics | _health(read)


def head_to_head(
    model_scores: pd.DataFrame,
    opponent_scores: pd.DataFrame,
    read: pd.DataFrame,
    evaluation: EvaluationParams,
    seed: int,
) -> dict:
    """Win, tie and loss on sampled responses, and the 95% interval of win minus loss.

    The verdicts in `read` decide; if it is empty, the scores do. Comparisons without a verdict are
    left out, and so are prompts without a comparison.
    """
    model, opponent = model_scores["model"].iloc[0], opponent_scores["model"].iloc[0]
    pairs = pair_up(model_scores, opponent_scores, evaluation.pairing)
    verdicts = _by_scores(pairs) if read.empty else _by_verdicts(pairs, read)
    won = pd.Series(settle(*verdicts), pairs["prompt_id"]).dropna()
    if won.empty:
        raise GateError(
            f"head to head: {model} and {opponent} have no prompt in common on which the referee "
            f"gave a verdict ({len(pairs)} comparisons). Read the verdicts if there are any, or "
            "evaluate both on the same `eval_prompts`."
        )
    label = derive_seed(seed, "head to head", model, opponent)
    return {"model": model, "opponent": opponent, **tally(won, evaluation.resamples, label)}


def settle(model_first: np.ndarray, opponent_first: np.ndarray) -> np.ndarray:
    """1 (win), 0 (tie) or -1 (loss) for the model from verdicts in both orders.

    Paper: section 3.1, it is a tie if the two verdicts disagree.

    Args:
        model_first: Verdicts on the order with the model's response first: 1 for the first
            response, -1 for the second, 0 for a tie, NaN for none.
        opponent_first: The same for the other order.
    """
    agreed = np.where(model_first == -opponent_first, model_first, 0.0)
    return np.where(np.isnan(model_first) | np.isnan(opponent_first), np.nan, agreed)


def _by_scores(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The verdicts that scores give in both orders; they always agree."""
    model_first = np.sign((pairs["score"] - pairs["score_other"]).to_numpy(float))
    return model_first, -model_first


def _by_verdicts(pairs: pd.DataFrame, read: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    numbers = _numbers(read)
    asked = pd.MultiIndex.from_frame(pairs[numbers.index.names])
    model_first, opponent_first = (
        numbers[order].reindex(asked).to_numpy(float) for order in ORDERS
    )
    return model_first, opponent_first


def _numbers(read: pd.DataFrame) -> pd.DataFrame:
    """Verdicts as numbers: one row per comparison, one column per order."""
    numbers = read.assign(number=read["verdict"].map(_NUMBERS))
    return numbers.pivot(
        index=["response_id", "response_id_other"], columns="order", values="number"
    ).reindex(columns=list(ORDERS))


def _health(read: pd.DataFrame) -> dict[str, float]:
    """Metrics of a comparing referee; none of a referee that scores."""
    if read.empty:
        return {}
    both = _numbers(read).dropna()
    disagree = both[ORDERS[0]] != -both[ORDERS[1]]
    figures = {
        "eval/verdicts": float(len(read)),
        "eval/verdicts_unparsed": float(read["verdict"].isna().sum()),
        "eval/order_disagreement": float(disagree.mean()),
    }
    return {name: value for name, value in figures.items() if pd.notna(value)}


def _refuse_unparsed(read: pd.DataFrame, evaluation: EvaluationParams) -> None:
    unparsed = read[read["verdict"].isna()]
    if len(unparsed) <= evaluation.max_unparsed * len(read):
        return
    first = unparsed.iloc[0]
    raise GateError(
        f"{first.model}.verdicts: {len(unparsed) / len(read):.0%} of {len(read)} comparisons have "
        f"no verdict (limit `evaluation.max_unparsed` = {evaluation.max_unparsed:g}); most often: "
        f"{unparsed['reason'].value_counts().index[0]}. First: response {first.response_id} "
        f"against {first.response_id_other}, {quoted_end(first.text)}. Give the referee more room "
        "(`max_new_tokens` of its entry in the catalog), change its prompt, or raise the limit: "
        "all verdicts are kept."
    )
