"""What a referee says of two models' responses to one prompt, in both orders.

Paper: section 3.1. Its words are kept, so that a better parser needs no new comparison.
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
"""One row a comparison as shown: `verdict` is `first`, `second` or `tie` of what was shown, or
missing, and `reason` says why, or `ok`."""


def compare_with_elders(
    model_scores: pd.DataFrame,
    previous_scores: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    referee: Referee,
    evaluation: Annotated[EvaluationParams, Reads("pairing")],
) -> pd.DataFrame:
    """All that the referee says of the model against its predecessor and the baseline.

    Each comparison is made in both orders. A referee that only scores has said all in
    `eval_scores`: then the table is empty.
    """
    if not isinstance(referee, ComparingReferee):
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    opponents = elders(previous_scores, baseline_scores).values()
    pairs = [pair_up(model_scores, scores, evaluation.pairing) for scores in opponents]
    shown = [_in_order(table, order) for table in pairs for order in ORDERS]
    asked = pd.concat(shown, ignore_index=True)
    texts = zip(asked["prompt"], asked["first"], asked["second"], strict=True)
    said = referee.compare([Comparison(*text) for text in texts])
    words = {name: [getattr(one, name) for one in said] for name in ("text", "finish", "thought")}
    return read_again(asked.assign(**words))[COLUMNS]


def read_again(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The same table with verdict and reason read afresh from the raw text."""
    read = [parse_verdict(row.text, row.finish) for row in verdicts.itertuples()]
    return verdicts.assign(
        verdict=pd.Series([one.winner for one in read], verdicts.index, dtype=object),
        reason=pd.Series([one.reason for one in read], verdicts.index, dtype=object),
    )


def elders(previous: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Scores by the opponent's name. M1's predecessor is the baseline, which makes one."""
    return {scores["model"].iloc[0]: scores for scores in (previous, baseline)}


def pair_up(model: pd.DataFrame, opponent: pd.DataFrame, pairing: str) -> pd.DataFrame:
    """Comparisons to make, row by row: `response` and `score`, with `_other` the opponent's."""
    columns = ["model", "prompt_id", "sample", "response_id", "response", "score"]
    own = model.loc[model["mode"] == "sampled", [*columns, "prompt"]]
    others = opponent.loc[opponent["mode"] == "sampled", columns]
    keys = ["prompt_id"] if pairing == "all" else ["prompt_id", "sample"]
    pairs = own.merge(others, on=keys, suffixes=("", "_other"))
    return pairs.rename(columns={"model_other": "opponent"})


def _in_order(pairs: pd.DataFrame, order: str) -> pd.DataFrame:
    """The pairs with `first` and `second` as the referee sees them."""
    own, other = pairs["response"], pairs["response_other"]
    first, second = (own, other) if order == ORDERS[0] else (other, own)
    return pairs.assign(order=order, first=first, second=second)
