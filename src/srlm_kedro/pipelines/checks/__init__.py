"""Checks of tables between the stages, and the gates before training."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.checks.lengths import check_lengths
from srlm_kedro.pipelines.checks.nodes import (
    check_judged,
    check_pairs,
    check_seed,
    document_checks,
    document_seed_checks,
    gate,
    gate_seed,
)


def create_pipeline() -> Pipeline:
    """`judged_responses`, `pairs`, ... -> `*_validation`, `data_docs`, `checked`.

    The gate also waits for the contamination check and for the guard over the policy.
    """
    judged = ["judged_responses", "judge_metrics", "previous_judge_metrics", "judged_suite"]
    results = ["policy", "judged_validation", "pairs_validation"]
    return Pipeline(
        [
            Node(check_judged, judged, "judged_validation", name="check_judged"),
            Node(
                check_pairs,
                ["pairs", "pair_metrics", "pairs_suite"],
                "pairs_validation",
                name="check_pairs",
            ),
            Node(
                document_checks,
                results,
                ["data_docs", "validation_metrics"],
                name="document_checks",
            ),
            Node(
                gate,
                [*results, "data_docs", "contamination_checked", "policy_checked"],
                "checked",
                name="gate",
            ),
        ]
    )


def create_seed_pipeline() -> Pipeline:
    """`base`, `ift`, `eft_ranked`, ... -> `seed_validation`, `data_docs`, `checked`."""
    tables = ["base", "ift", "eft_ranked", "eval_prompts", "judge_prompt", "few_shot_prompt"]
    groups = ["loop", "sft", "dpo", "eft", "prompts", "responses", "judging"]
    groups += ["evaluation", "selection"]
    engines = ["generation_engine", "training_engine"]
    return Pipeline(
        [
            Node(
                check_seed,
                ["ift", "eft_ranked", "seed_suite"],
                "seed_validation",
                name="check_seed",
            ),
            Node(
                document_seed_checks,
                "seed_validation",
                ["data_docs", "validation_metrics"],
                name="document_seed_checks",
            ),
            Node(
                check_lengths,
                [*tables, *engines, *(f"params:{group}" for group in groups)],
                "lengths_checked",
                name="check_lengths",
            ),
            Node(
                gate_seed,
                ["seed_validation", "data_docs", "contamination_checked", "lengths_checked"],
                "checked",
                name="gate_seed",
            ),
        ]
    )
