"""The seed data of verifiable instructions: M0 answers, and programs judge in place of people."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.verifiable.measures import (
    measure_constraints,
    measure_criteria,
    measure_fluency,
    measure_gains,
)
from srlm_kedro.pipelines.verifiable.nodes import (
    check_seed_responses,
    draw_seed_responses,
    make_instructions,
)


def create_seed_data_pipeline() -> Pipeline:
    """`model`, `checker` -> `ift_seed`, `eft_seed`, `eval_prompts`.

    On the way: `instructions` and `seed_responses`.
    """
    return Pipeline(
        [
            Node(make_instructions, "params:verifiable", "instructions", name="make_instructions"),
            Node(
                draw_seed_responses,
                ["model", "instructions", "generation_engine", "params:verifiable"],
                "seed_responses",
                name="draw_seed_responses",
            ),
            Node(
                check_seed_responses,
                ["instructions", "seed_responses", "checker"],
                ["ift_seed", "eft_seed", "eval_prompts"],
                name="check_seed_responses",
            ),
        ]
    )


def create_measuring_pipeline() -> Pipeline:
    """`eval_responses`, `referee`, `m0` -> `constraints`, `constraint_metrics`, ..."""
    return Pipeline(
        [
            Node(
                measure_constraints,
                ["eval_responses", "referee"],
                ["constraints", "constraint_metrics"],
                name="measure_constraints",
            ),
            Node(
                measure_fluency,
                ["eval_responses", "m0", "training_engine"],
                "fluency_metrics",
                name="measure_fluency",
            ),
        ]
    )


def create_gains_pipeline() -> Pipeline:
    """`model_scores`, `previous_scores`, `m1_scores`, `baseline_scores` -> `gains`, its metrics."""
    scores = ["model_scores", "previous_scores", "m1_scores", "baseline_scores"]
    return Pipeline(
        [
            Node(
                measure_gains,
                [*scores, "referee", "params:verifiable", "params:seed"],
                ["gains", "gain_metrics"],
                name="measure_gains",
            )
        ]
    )


def create_criteria_pipeline() -> Pipeline:
    """`own_responses`, `own_judgements`, `referee` -> `criteria`, `criteria_metrics`."""
    return Pipeline(
        [
            Node(
                measure_criteria,
                ["own_responses", "own_judgements", "referee"],
                ["criteria", "criteria_metrics"],
                name="measure_criteria",
            )
        ]
    )
