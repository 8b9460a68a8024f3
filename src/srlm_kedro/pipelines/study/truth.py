"""What is true of an iteration's candidates, ties and pairs, by the referee. Shares are in %."""

from typing import Any

import pandas as pd

from srlm_kedro.pipelines.study.accuracy import accuracy, accuracy_figures
from srlm_kedro.pipelines.study.movement import movement_figures
from srlm_kedro.pipelines.study.params import StudyParams
from srlm_kedro.pipelines.study.writing import prompt_figures
from srlm_kedro.records import Checkpoint, draw_sample
from srlm_kedro.referee.base import COLUMNS, KINDS, KnowingReferee, Referee, assessment_table

TIED = ["model", "prompt_id", "prompt", "reward", "responses", "why"]
TRUTH = ["model", "kind", "pairs", "better", "equal", "worse"]


def assess_candidates(
    judged_responses: pd.DataFrame, referee: Referee, study: StudyParams, seed: int
) -> pd.DataFrame:
    """The judged responses with the referee's score and each kind of error.

    These are NaN for prompts that the referee does not understand or is not asked about, and for
    responses that were not judged.
    """
    prompts = _prompts_to_assess(judged_responses, referee, study.prompts, seed)
    rows = judged_responses[
        judged_responses["prompt_id"].isin(prompts) & (judged_responses["reason"] == "ok")
    ]
    found = referee.assess_all(list(zip(rows["prompt"], rows["response"], strict=True)))
    return judged_responses.join(assessment_table(found, rows.index))


def measure_judge(
    policy: Checkpoint, candidate_scores: pd.DataFrame, pairs: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`judge_accuracy`, `tied_groups`, `pair_truth` of the iteration that starts from `policy`."""
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
    """All figures as `study/...`, shares in %; unknown figures are left out."""
    figures = {
        **accuracy_figures(judge_accuracy, "judge"),
        **tie_figures(tied_groups),
        **pair_figures(pair_truth),
        **prompt_figures(prompt_facts, prompts, ift),
        **movement_figures(movement),
    }
    return {f"study/{name}": value for name, value in figures.items()}


def _prompts_to_assess(
    judged_responses: pd.DataFrame, referee: Referee, limit: int | None, seed: int
) -> list[str]:
    """Ids of the prompts that the referee understands, or a random `limit` of them."""
    prompts = judged_responses.drop_duplicates("prompt_id")
    if isinstance(referee, KnowingReferee):
        prompts = prompts[[referee.understands(text) for text in prompts["prompt"]]]
    return draw_sample(prompts["prompt_id"].to_list(), limit, seed, "study")


def tied_groups(candidates: pd.DataFrame, model: str) -> pd.DataFrame:
    """One row per prompt whose candidates all got the same reward, columns `TIED`.

    `why` is `truth_ties` if the referee scores them equal too. Otherwise it is the only kind of
    error in which they differ, `several` for more than one, or `score` for none, where the
    referee's scores differ but no kind does. It is `unknown` if the referee knows no score. A
    prompt with fewer than two rewards has no tie.
    """
    rewarded = candidates.dropna(subset="reward")
    rows = [
        (model, name, group["prompt"].iloc[0], group["reward"].iloc[0], len(group), _why(group))
        for name, group in rewarded.groupby("prompt_id", sort=False)
        if len(group) > 1 and group["reward"].nunique() == 1
    ]
    return pd.DataFrame(rows, columns=TIED)


def tie_figures(table: pd.DataFrame) -> dict[str, float]:
    """`tied_groups`, their number, and `ties_true`, the share that the referee scores equal too."""
    known = table.loc[table["why"] != "unknown", "why"]
    figures = {"tied_groups": float(len(table))}
    return figures | ({"ties_true": _share(known == "truth_ties")} if len(known) else {})


def pair_truth(pairs: pd.DataFrame, candidates: pd.DataFrame, model: str) -> pd.DataFrame:
    """One row for `score` and for each kind of error, columns `TRUTH`.

    The shares are of the training pairs whose chosen response is better, equal or worse in it, by
    the referee. `pairs` counts the pairs that the referee knows.
    """
    known = candidates.set_index("response_id")[COLUMNS]
    chosen, rejected = (
        known.reindex(pairs[side]).reset_index(drop=True) for side in ("chosen_id", "rejected_id")
    )
    gains = (chosen - rejected) * [1.0, *(-1.0 for _ in KINDS)]  # fewer errors are better
    columns = zip(("score", *KINDS), COLUMNS, strict=True)
    rows = [(model, kind, *_gain_shares(gains[name].dropna())) for kind, name in columns]
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
    """Why a judge may have tied the candidates to one prompt."""
    if group["score"].isna().any():
        return "unknown"
    if group["score"].nunique() == 1:
        return "truth_ties"
    kinds = [kind for kind, name in KINDS.items() if group[name].nunique() > 1]
    return {0: "score", 1: "".join(kinds)}.get(len(kinds), "several")


def _gain_shares(gain: pd.Series) -> tuple[Any, ...]:
    return len(gain), _share(gain > 0), _share(gain == 0), _share(gain < 0)


def _share(rows: pd.Series) -> float:
    return 100 * float(rows.mean())
