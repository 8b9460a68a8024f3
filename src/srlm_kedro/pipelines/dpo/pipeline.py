"""Preference training: M_t from M_(t-1)."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.dpo.nodes import check_training, train_dpo, train_soft_dpo

_KNOBS = ["checked", "training_engine", "params:dpo", "params:seed"]
_OUTPUTS = ["model", "train_log", "train_metrics"]


def create_pipeline() -> Pipeline:
    """`policy`, `pairs`, `checked` -> `model`, `train_log`, `train_metrics`, `training_checked`."""
    inputs = ["policy", "pairs", *_KNOBS]
    return Pipeline([Node(train_dpo, inputs, _OUTPUTS, name="train_dpo"), _checked()])


def create_soft_pipeline() -> Pipeline:
    """The same with `consistency_metrics`, which soften the labels."""
    inputs = ["policy", "pairs", "consistency_metrics", *_KNOBS]
    return Pipeline([Node(train_soft_dpo, inputs, _OUTPUTS, name="train_dpo"), _checked()])


def _checked() -> Node:
    return Node(
        check_training, [*_OUTPUTS, "params:dpo"], "training_checked", name="check_training"
    )
