"""Supervised fine-tuning, in its three uses."""

from collections.abc import Callable

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.sft.nodes import check_training, train_m1, train_on_positives, train_sft

_OUTPUTS = ["model", "train_log", "train_metrics"]


def create_baseline_pipeline() -> Pipeline:
    """`base`, `ift`, `checked` -> `model`, `train_log`, `train_metrics`: the SFT baseline."""
    return _train(train_sft, ["base", "ift", "checked"])


def create_m1_pipeline() -> Pipeline:
    """`base`, `ift`, `eft_train`, `checked` -> `model`, ...: M1."""
    return _train(train_m1, ["base", "ift", "eft_train", "checked"])


def create_positives_pipeline() -> Pipeline:
    """The same with `judged_responses` of full reward added: a control without preferences."""
    return _train(train_on_positives, ["base", "ift", "eft_train", "judged_responses", "checked"])


def _train(function: Callable, tables: list[str]) -> Pipeline:
    inputs = [*tables, "training_engine", "params:sft", "params:seed"]
    trained = Node(function, inputs, _OUTPUTS, name=function.__name__)
    left = ["model", "train_metrics", "params:sft"]
    return Pipeline(
        [trained, Node(check_training, left, "training_checked", name="check_training")]
    )
