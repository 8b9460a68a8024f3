"""Who answers better: a model against the one before it and against the SFT baseline.

Paper: section 3.1, every comparison is made in both orders, and disagreement is a tie.
"""

import numpy as np
import pandas as pd

from srlm_kedro.display.safe_text import ending
from srlm_kedro.errors import GateError
from srlm_kedro.judge.statistics import tally
from srlm_kedro.pipelines.evaluation.comparisons import ORDERS, elders, pair_up, read_again
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.records import derive_seed

COLUMNS = ["model", "opponent", "win", "tie", "loss", "n", "low", "high"]
"""One row an opponent: win, tie, loss in %, n prompts; low and high bound win minus loss."""
_NUMBERS = {"first": 1.0, "tie": 0.0, "second": -1.0}


def settle_comparisons(
    model_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    verdicts: pd.DataFrame,
    evaluation: EvaluationParams,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The model against its predecessor and against the baseline: a row each, and as metrics.

    M1's predecessor is the baseline, which makes one row. Where the referee compared,
    `eval/verdicts_unparsed` counts its words without a verdict, and `eval/order_disagreement` is
    the share of the comparisons, of those with both verdicts, that the order swayed.

    Raises:
        GateError: Too large a share of its words carries no verdict.
    """
    read = read_again(verdicts)
    _refuse_unread(read, evaluation)
    rows = {
        opponent: head_to_head(model_scores, scores, read, evaluation, seed)
        for opponent, scores in elders(previous_scores, baseline_scores).items()
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

    By the verdicts in `read`; by the scores when it holds none of any model.

    Comparisons without a verdict are left out, and so are prompts without any.
    """
    model, opponent = model_scores["model"].iloc[0], opponent_scores["model"].iloc[0]
    pairs = pair_up(model_scores, opponent_scores, evaluation.pairing)
    shown, swapped = _by_scores(pairs) if read.empty else _by_verdicts(pairs, read)
    won = pd.Series(settle(shown, swapped), pairs["prompt_id"]).dropna()
    if won.empty:
        raise GateError(
            f"head to head: {model} and {opponent} share no prompt with a verdict of the referee "
            f"({len(pairs)} comparisons). Read the verdicts if there are any, or evaluate both on "
            "the same `eval_prompts`."
        )
    label = derive_seed(seed, "head to head", model, opponent)
    return {"model": model, "opponent": opponent, **tally(won, evaluation.resamples, label)}


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


def _by_scores(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Both orders of a referee that scores each response by itself: they agree."""
    shown = np.sign((pairs["score"] - pairs["score_other"]).to_numpy(float))
    return shown, -shown


def _by_verdicts(pairs: pd.DataFrame, read: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    numbers = _numbers(read)
    asked = pd.MultiIndex.from_frame(pairs[numbers.index.names])
    shown, swapped = (numbers[order].reindex(asked).to_numpy(float) for order in ORDERS)
    return shown, swapped


def _numbers(read: pd.DataFrame) -> pd.DataFrame:
    """A row a comparison, a column an order: 1 for the first as shown, 0, -1, or NaN."""
    numbers = read.assign(number=read["verdict"].map(_NUMBERS))
    return numbers.pivot(
        index=["response_id", "response_id_other"], columns="order", values="number"
    ).reindex(columns=list(ORDERS))


def _health(read: pd.DataFrame) -> dict[str, float]:
    """How far a comparing referee can be trusted; nothing of one that scores."""
    if read.empty:
        return {}
    both = _numbers(read).dropna()
    swayed = both[ORDERS[0]] != -both[ORDERS[1]]
    figures = {
        "eval/verdicts": float(len(read)),
        "eval/verdicts_unparsed": float(read["verdict"].isna().sum()),
        "eval/order_disagreement": float(swayed.mean()),
    }
    return {name: value for name, value in figures.items() if pd.notna(value)}


def _refuse_unread(read: pd.DataFrame, evaluation: EvaluationParams) -> None:
    unread = read[read["verdict"].isna()]
    if len(unread) <= evaluation.max_unparsed * len(read):
        return
    first = unread.iloc[0]
    raise GateError(
        f"{first.model}.verdicts: {len(unread) / len(read):.0%} of {len(read)} comparisons carry "
        f"no verdict (limit `evaluation.max_unparsed` = {evaluation.max_unparsed:g}); most often: "
        f"{unread['reason'].value_counts().index[0]}. First: response {first.response_id} against "
        f"{first.response_id_other}, {ending(first.text)}. Give the referee more room "
        "(`max_new_tokens` of its entry in the catalog), change its prompt, or raise the limit: "
        "all verdicts are kept."
    )
