"""What is true of an iteration's candidates, ties and pairs, and all figures of it."""

import pandas as pd

from srlm_kedro.pipelines.study.accuracy import accuracy, accuracy_figures
from srlm_kedro.pipelines.study.movement import movement_figures
from srlm_kedro.pipelines.study.params import StudyParams
from srlm_kedro.pipelines.study.truth import pair_figures, pair_truth, tie_figures, tied_groups
from srlm_kedro.pipelines.study.writing import prompt_figures
from srlm_kedro.records import Checkpoint, drawn
from srlm_kedro.referee.base import KnowingReferee, Referee, tabulated


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
