"""How often a judge puts two responses to one prompt in the true order, by kind of error.

The referee knows the true order. All shares are in %.
"""

import numpy as np
import pandas as pd

from srlm_kedro.referee.base import COLUMNS, KINDS

ACCURACY = ["model", "kind", "pairs", "right", "tied", "wrong"]


def accuracy(judged: pd.DataFrame, model: str) -> pd.DataFrame:
    """One row per kind of difference, columns `ACCURACY`.

    It counts pairs of responses to one prompt that both have a reward and whose true scores differ:
    all of them as kind `all`, and those that differ in only one kind of error as that kind.

    Args:
        judged: `prompt_id`, `reward`, and the referee's columns (`referee.base.COLUMNS`).
        model: The model's name, for the column `model`.
    """
    pairs = _within_prompts(judged)
    better = np.sign(pairs["score"] - pairs["score_other"])
    verdict = better * np.sign(pairs["reward"] - pairs["reward_other"])
    differing = pd.DataFrame(
        {kind: pairs[name] != pairs[f"{name}_other"] for kind, name in KINDS.items()}
    )
    in_one_kind = differing.sum(axis=1) == 1
    chosen = {"all": better != 0} | {kind: differing[kind] & in_one_kind for kind in KINDS}
    rows = [_row(model, kind, verdict[rows & (better != 0)]) for kind, rows in chosen.items()]
    return pd.DataFrame(rows, columns=ACCURACY)


def accuracy_figures(table: pd.DataFrame, who: str) -> dict[str, float]:
    """`<who>_right`, `<who>_tied` and `<who>_pairs`, and by kind with `_<kind>` at the end.

    Shares of no pairs are left out.
    """
    figures = {
        f"{who}_{name}{'' if row.kind == 'all' else f'_{row.kind}'}": float(getattr(row, name))
        for row in table.itertuples()
        for name in ("right", "tied", "pairs")
    }
    return {name: value for name, value in figures.items() if pd.notna(value)}


def _within_prompts(judged: pd.DataFrame) -> pd.DataFrame:
    """One row per pair of responses to a prompt; the second's columns end in `_other`."""
    rows = judged[["prompt_id", "reward", *COLUMNS]].dropna(subset=["reward", "score"])
    # If the referee does not tell kinds of error, no two responses differ in one.
    rows = rows.fillna(0.0).assign(place=range(len(rows)))
    pairs = rows.merge(rows, on="prompt_id", suffixes=("", "_other"))
    return pairs[pairs["place"] < pairs["place_other"]]


def _row(model: str, kind: str, verdict: pd.Series) -> tuple[str, str, int, float, float, float]:
    right, tied, wrong = (100 * float((verdict == sign).mean()) for sign in (1, 0, -1))
    return model, kind, len(verdict), right, tied, wrong
