"""The microworld's M0, ready or pretrained on its corpus, and its seed data."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.microworld.nodes import (
    make_corpus,
    make_seed_data,
    take_m0,
    train_m0,
    write_m0_card,
)


def create_pipeline() -> Pipeline:
    """M0 from its corpus: templates, `eval_prompts` -> `corpus`, `model`, `train_metrics`, ..."""
    return Pipeline(
        [
            Node(
                make_corpus,
                [
                    "judge_prompt",
                    "few_shot_prompt",
                    "eval_prompts",
                    "params:microworld",
                    "params:seed",
                ],
                "corpus",
                name="make_corpus",
            ),
            Node(
                train_m0,
                ["corpus", "training_engine", "params:pretraining", "params:seed"],
                ["model", "train_log", "train_metrics"],
                name="train_m0",
            ),
        ]
    )


def create_ready_pipeline() -> Pipeline:
    """The M0 that comes with the project: `ready_m0` -> `model`."""
    return Pipeline([Node(take_m0, ["ready_m0"], "model", name="take_m0")])


def create_card_pipeline() -> Pipeline:
    """M0's card: `model`, `train_metrics` -> `card`."""
    inputs = ["model", "train_metrics", "params:seed"]
    return Pipeline([Node(write_m0_card, inputs, "card", name="write_m0_card")])


def create_seed_data_pipeline() -> Pipeline:
    """The seed data: `params:microworld` -> `ift_seed`, `eft_seed`, `eval_prompts`."""
    return Pipeline(
        [
            Node(
                make_seed_data,
                ["params:microworld"],
                ["ift_seed", "eft_seed", "eval_prompts"],
                name="make_seed_data",
            )
        ]
    )
