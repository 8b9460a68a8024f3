"""A referee compares two models' responses to the same prompt, in both orders.

Paper: section 3.1. Its completions are kept, so that a better parser needs no new comparison.
"""

from typing import Annotated

import pandas as pd

from srlm_kedro.judge.verdict import parse_verdict
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.referee.base import ComparingReferee, Comparison, Referee

ORDERS = ("model_first", "opponent_first")
COLUMNS = [
    *("model", "opponent", "prompt_id", "response_id", "response_id_other", "order"),
    *("text", "finish", "thought", "verdict", "reason"),
]
"""Columns of `verdicts`: one row per comparison and order. `verdict` is `first`, `second` or `tie`.
`reason` is `ok`, or it says why the verdict is missing."""


def compare_with_elders(
    model_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    referee: Referee,
    evaluation: Annotated[EvaluationParams, Reads("pairing")],
) -> pd.DataFrame:
    """The referee's comparisons of the model with its predecessor and with the baseline, raw.

    Each comparison is made in both orders. If the referee only scores, its scores are in
    `eval_scores`, and this table is empty.
    """
    if not isinstance(referee, ComparingReferee):
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    opponents = opponents_of(previous_scores, baseline_scores).values()
    pairs = [pair_up(model_scores, scores, evaluation.pairing) for scores in opponents]
    both = [_in_order(table, order) for table in pairs for order in ORDERS]
    asked = pd.concat(both, ignore_index=True)
    texts = zip(asked["prompt"], asked["first"], asked["second"], strict=True)
    drawn = referee.compare([Comparison(*text) for text in texts])
    raw = {name: [getattr(one, name) for one in drawn] for name in ("text", "finish", "thought")}
    return reparse(asked.assign(**raw))[COLUMNS]


def reparse(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts with `verdict` and `reason` parsed again from the raw text."""
    read = [parse_verdict(row.text, row.finish) for row in verdicts.itertuples()]
    return verdicts.assign(
        verdict=pd.Series([one.winner for one in read], verdicts.index, dtype=object),
        reason=pd.Series([one.reason for one in read], verdicts.index, dtype=object),
    )


def opponents_of(previous: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Scores by the opponent's name; only one for M1, whose predecessor is the baseline."""
    return {scores["model"].iloc[0]: scores for scores in (previous, baseline)}


def pair_up(model: pd.DataFrame, opponent: pd.DataFrame, pairing: str) -> pd.DataFrame:
    """One row per comparison; columns that end in `_other` are the opponent's."""
    columns = ["model", "prompt_id", "sample", "response_id", "response", "score"]
    ours = model.loc[model["mode"] == "sampled", [*columns, "prompt"]]
    others = opponent.loc[opponent["mode"] == "sampled", columns]
    keys = ["prompt_id"] if pairing == "all" else ["prompt_id", "sample"]
    pairs = ours.merge(others, on=keys, suffixes=("", "_other"))
    return pairs.rename(columns={"model_other": "opponent"})


def _in_order(pairs: pd.DataFrame, order: str) -> pd.DataFrame:
    """The pairs with columns `first` and `second`, as the referee sees them."""
    ours, other = pairs["response"], pairs["response_other"]
    first, second = (ours, other) if order == ORDERS[0] else (other, ours)
    return pairs.assign(order=order, first=first, second=second)
