"""What is true of an iteration's candidates, ties and pairs, by the referee. Shares are in %."""

from typing import Any

import pandas as pd

from srlm_kedro.pipelines.study.accuracy import accuracy, accuracy_figures
from srlm_kedro.pipelines.study.movement import movement_figures
from srlm_kedro.pipelines.study.self_judging import StudyParams
from srlm_kedro.pipelines.study.writing import prompt_figures
from srlm_kedro.records import Checkpoint, drawn
from srlm_kedro.referee.base import COLUMNS, KINDS, KnowingReferee, Referee, tabulated

TIED = ["model", "prompt_id", "prompt", "reward", "responses", "why"]
TRUTH = ["model", "kind", "pairs", "better", "equal", "worse"]


def assess_candidates(
    judged_responses: pd.DataFrame, referee: Referee, study: StudyParams, seed: int
) -> pd.DataFrame:
    """The judged responses with the referee's score and the kinds of error apart.

    NaN where it cannot tell: prompts that it does not understand, or is not asked about. Nor is it
    asked about responses that were not judged.
    """
    prompts = _asked(judged_responses, referee, study.prompts, seed)
    rows = judged_responses[
        judged_responses["prompt_id"].isin(prompts) & (judged_responses["reason"] == "ok")
    ]
    found = referee.assess_all(list(zip(rows["prompt"], rows["response"], strict=True)))
    return judged_responses.join(tabulated(found, rows.index))


def measure_judge(
    policy: Checkpoint, candidate_scores: pd.DataFrame, pairs: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`judge_accuracy`, `tied_groups` and `pair_truth` of the iteration that `policy` begins."""
    name = f"m{policy.iteration + 1}"
    return (
        accuracy(candidate_scores, name),
        tied_groups(candidate_scores, name),
        pair_truth(pairs, candidate_scores, name),
    )


def summarise_study(
    judge_accuracy: pd.DataFrame,
    tied_groups: pd.DataFrame,
    pair_truth: pd.DataFrame,
    prompt_facts: pd.DataFrame,
    prompts: pd.DataFrame,
    ift: pd.DataFrame,
    movement: pd.DataFrame,
) -> dict[str, float]:
    """All of it as `study/...`; what nobody can tell is left out, and shares are in %."""
    figures = {
        **accuracy_figures(judge_accuracy, "judge"),
        **tie_figures(tied_groups),
        **pair_figures(pair_truth),
        **prompt_figures(prompt_facts, prompts, ift),
        **movement_figures(movement),
    }
    return {f"study/{name}": value for name, value in figures.items()}


def _asked(
    judged_responses: pd.DataFrame, referee: Referee, limit: int | None, seed: int
) -> list[str]:
    """Ids of the prompts to ask about: those it understands, `limit` of them by the seed."""
    prompts = judged_responses.drop_duplicates("prompt_id")
    if isinstance(referee, KnowingReferee):
        prompts = prompts[[referee.understands(text) for text in prompts["prompt"]]]
    return drawn(prompts["prompt_id"].to_list(), limit, seed, "study")


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
