"""Why groups of candidates tie, and whether the pairs are true. All shares are in %."""

from typing import Any

import pandas as pd

from srlm_kedro.referee.base import COLUMNS, KINDS

TIED = ["model", "prompt_id", "prompt", "reward", "responses", "why"]
TRUTH = ["model", "kind", "pairs", "better", "equal", "worse"]


def tied_groups(candidates: pd.DataFrame, model: str) -> pd.DataFrame:
    """A row a prompt whose candidates all got one reward, columns `TIED`.

    `why` is `truth_ties` where they truly deserve one score; else the kind of error in which alone
    they differ, `several` for more than one, `score` for none: kinds are not told apart, or what
    is wrong is so by degrees. `unknown` is where the referee knows no score. A prompt with fewer
    than two rewards has no tie.
    """
    rewarded = candidates.dropna(subset="reward")
    rows = [
        (model, name, group["prompt"].iloc[0], group["reward"].iloc[0], len(group), _why(group))
        for name, group in rewarded.groupby("prompt_id", sort=False)
        if len(group) > 1 and group["reward"].nunique() == 1
    ]
    return pd.DataFrame(rows, columns=TIED)


def tie_figures(table: pd.DataFrame) -> dict[str, float]:
    """`tied_groups`, and `ties_true`: the share, of those that the referee knows."""
    known = table.loc[table["why"] != "unknown", "why"]
    figures = {"tied_groups": float(len(table))}
    return figures | ({"ties_true": _share(known == "truth_ties")} if len(known) else {})


def pair_truth(pairs: pd.DataFrame, candidates: pd.DataFrame, model: str) -> pd.DataFrame:
    """A row for `score` and for each kind of error, columns `TRUTH`.

    Shares of the training pairs whose chosen response is truly better, equal or worse in it;
    `pairs` counts those that the referee knows.
    """
    known = candidates.set_index("response_id")[COLUMNS]
    chosen, rejected = (
        known.reindex(pairs[side]).reset_index(drop=True) for side in ("chosen_id", "rejected_id")
    )
    gains = (chosen - rejected) * [1.0, *(-1.0 for _ in KINDS)]  # fewer errors are better
    columns = zip(("score", *KINDS), COLUMNS, strict=True)
    rows = [(model, kind, *_gained(gains[name].dropna())) for kind, name in columns]
    return pd.DataFrame(rows, columns=TRUTH)


def pair_figures(table: pd.DataFrame) -> dict[str, float]:
    """`pairs_true` and `pairs_false`, by the score; `pairs_better_<kind>`, `pairs_worse_<kind>`."""
    by_kind = table.set_index("kind")
    figures = {"pairs_true": by_kind["better"]["score"], "pairs_false": by_kind["worse"]["score"]}
    for kind in KINDS:
        for way in ("better", "worse"):
            figures[f"pairs_{way}_{kind}"] = by_kind[way][kind]
    return {name: float(value) for name, value in figures.items() if pd.notna(value)}


def _why(group: pd.DataFrame) -> str:
    if group["score"].isna().any():
        return "unknown"
    if group["score"].nunique() == 1:
        return "truth_ties"
    kinds = [kind for kind, name in KINDS.items() if group[name].nunique() > 1]
    return {0: "score", 1: "".join(kinds)}.get(len(kinds), "several")


def _gained(gain: pd.Series) -> tuple[Any, ...]:
    return len(gain), _share(gain > 0), _share(gain == 0), _share(gain < 0)


def _share(rows: pd.Series) -> float:
    return 100 * float(rows.mean())
