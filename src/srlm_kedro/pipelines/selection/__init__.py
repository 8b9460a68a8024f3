"""Selection: whether a model is worse than the one before it, and which is the best so far."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.selection.decision import (
    choose_best,
    compare_with_previous,
    guard_next,
    reward_validation_responses,
)
from srlm_kedro.pipelines.selection.nodes import (
    draw_validation_responses,
    judge_validation_responses,
)

_PARAMS = ["params:selection", "params:seed"]


def create_validation_pipeline() -> Pipeline:
    """`model`, `eft_eval`, `judge`, `judge_engine`, `judge_prompt` -> `validation_scores`.

    On the way: `validation_responses`, `validation_judgements`.
    """
    return Pipeline(
        [
            Node(
                draw_validation_responses,
                ["model", "eft_eval", "generation_engine", *_PARAMS],
                "validation_responses",
                name="draw_validation_responses",
            ),
            Node(
                judge_validation_responses,
                ["judge", "validation_responses", "judge_prompt", "judge_engine", *_PARAMS],
                "validation_judgements",
                name="judge_validation_responses",
            ),
            Node(
                reward_validation_responses,
                ["validation_responses", "validation_judgements"],
                "validation_scores",
                name="reward_validation_responses",
            ),
        ]
    )


def create_comparison_pipeline() -> Pipeline:
    """`model`, `validation_scores`, `previous_scores` -> `selection_metrics`."""
    scores = ["model", "validation_scores", "previous_scores"]
    return Pipeline(
        [
            Node(
                compare_with_previous,
                [*scores, "params:rollback", "params:seed"],
                "selection_metrics",
                name="compare_with_previous",
            )
        ]
    )


def create_guard_pipeline() -> Pipeline:
    """`model`, `selection_metrics` -> `selection_checked`, which the next iteration waits for."""
    inputs = ["model", "selection_metrics"]
    return Pipeline([Node(guard_next, inputs, "selection_checked", name="guard_next")])


def create_choice_pipeline() -> Pipeline:
    """`model`, `previous_best`, `selection_metrics`, ... -> `best`, `best_scores`."""
    scores = ["validation_scores", "previous_scores"]
    return Pipeline(
        [
            Node(
                choose_best,
                ["model", "previous_best", "selection_metrics", *scores],
                ["best", "best_scores"],
                name="choose_best",
            )
        ]
    )
