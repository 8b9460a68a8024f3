"""Preference training: M_t from M_(t-1)."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.dpo.nodes import train_dpo


def create_pipeline() -> Pipeline:
    """`policy`, `pairs`, `checked` -> `model`, `train_log`, `train_metrics`."""
    return Pipeline(
        [
            Node(
                train_dpo,
                ["policy", "pairs", "checked", "training_engine", "params:dpo", "params:seed"],
                ["model", "train_log", "train_metrics"],
                name="train_dpo",
            )
        ]
    )
