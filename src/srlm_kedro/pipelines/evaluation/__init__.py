"""Evaluation of each model on prompts that no model was trained on."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.judge.statistics import measure_reward_modelling
from srlm_kedro.pipelines.evaluation.comparisons import compare_with_elders
from srlm_kedro.pipelines.evaluation.head_to_head import settle_comparisons
from srlm_kedro.pipelines.evaluation.nodes import (
    assess_responses,
    draw_eval_responses,
    judge_eft_eval,
    measure_model,
)

_DRAWING = ["generation_engine", "params:evaluation", "params:seed"]


def create_answering_pipeline() -> Pipeline:
    """`model`, `eval_prompts`, `referee` -> `eval_responses`, `eval_scores`."""
    return Pipeline(
        [
            Node(
                draw_eval_responses,
                ["model", "eval_prompts", *_DRAWING],
                "eval_responses",
                name="draw_eval_responses",
            ),
            Node(
                assess_responses,
                ["eval_responses", "referee"],
                "eval_scores",
                name="assess_responses",
            ),
        ]
    )


def create_pipeline() -> Pipeline:
    """`model`, `eval_prompts`, `referee`, `eft_eval`, `judge_prompt` -> `eval_metrics`, ...

    On the way: `eval_responses`, `eval_scores`, `eft_eval_judgements`, `reward_modelling`.
    """
    judged = Pipeline(
        [
            Node(
                judge_eft_eval,
                ["model", "eft_eval", "judge_prompt", *_DRAWING],
                "eft_eval_judgements",
                name="judge_eft_eval",
            ),
            Node(
                measure_reward_modelling,
                ["eft_eval", "eft_eval_judgements"],
                "reward_modelling",
                name="measure_reward_modelling",
            ),
            Node(
                measure_model,
                ["eval_scores", "reward_modelling"],
                "eval_metrics",
                name="measure_model",
            ),
        ]
    )
    return create_answering_pipeline() + judged


def create_head_to_head_pipeline() -> Pipeline:
    """`model_scores`, `previous_scores`, `baseline_scores` -> `head_to_head`, its metrics.

    On the way: `verdicts`, the raw verdicts of a referee that compares.
    """
    scores = ["model_scores", "previous_scores", "baseline_scores"]
    return Pipeline(
        [
            Node(
                compare_with_elders,
                [*scores, "referee", "params:evaluation"],
                "verdicts",
                name="compare_with_elders",
            ),
            Node(
                settle_comparisons,
                [*scores, "verdicts", "params:evaluation", "params:seed"],
                ["head_to_head", "head_to_head_metrics"],
                name="settle_comparisons",
            ),
        ]
    )
