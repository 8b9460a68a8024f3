"""Model cards and data cards: a README.md beside each model and its pairs."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.cards.nodes import (
    write_iteration_card,
    write_pairs_card,
    write_seed_model_card,
)


def create_seed_model_pipeline(*, eft: bool, compared: bool) -> Pipeline:
    """The SFT baseline or M1: `model`, `eval_metrics`, `train_metrics` -> `card`.

    Args:
        eft: Whether the model was trained on EFT too; then `eft_metrics` is an input.
        compared: Whether the model was compared with an earlier one; then `head_to_head` is.
    """
    tables = ["model", "eval_metrics", "train_metrics"]
    tables += ["eft_metrics"] * eft + ["head_to_head"] * compared
    params = {name: f"params:{name}" for name in ("sft", "seed", "cards")}
    inputs = {name: name for name in tables} | params
    return Pipeline([Node(write_seed_model_card, inputs, "card", name="write_card")])


def create_iteration_pipeline() -> Pipeline:
    """M_t, t at least 2: `model`, `eval_metrics`, `head_to_head`, ... -> `card`, `pairs_card`."""
    measured = ["model", "eval_metrics", "head_to_head", "train_metrics"]
    made = ["prompt_metrics", "judge_metrics", "pair_metrics"]
    stages = ["prompts", "responses", "judging", "pairs", "dpo", "sft"]
    params = [
        "params:loop",
        *(f"params:{stage}" for stage in stages),
        "params:seed",
        "params:cards",
    ]
    inputs = [*measured, *made, *params]
    tables = ["model", "pairs", "pair_metrics", "params:cards"]
    return Pipeline(
        [
            Node(write_iteration_card, inputs, "card", name="write_card"),
            Node(write_pairs_card, tables, "pairs_card", name="write_pairs_card"),
        ]
    )
