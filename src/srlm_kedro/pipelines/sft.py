"""Supervised fine-tuning: the SFT baseline, M1, and the positives-only control."""

from collections.abc import Callable

import pandas as pd
from kedro.pipeline import Node, Pipeline

from srlm_kedro.engines.training.base import SftParams, Trained, TrainingEngine
from srlm_kedro.records import Checkpoint, Example, derive_seed

Outcome = tuple[Checkpoint, pd.DataFrame, dict[str, float]]
"""A new model, what training logged (a row a logged step), and its last values."""


def train_sft(
    model: Checkpoint,
    ift: pd.DataFrame,
    checked: dict[str, bool],
    training_engine: TrainingEngine,
    sft: SftParams,
    seed: int,
) -> Outcome:
    """The SFT baseline: M0 fine-tuned on IFT alone. Paper: section 3.1.

    `checked` is the word of the seed data's gate, here as in M1: nothing trains before it.
    """
    trained = training_engine.sft(model, ift_examples(ift), sft, derive_seed(seed, "sft"))
    return _outcome(trained, len(ift))


def train_m1(
    model: Checkpoint,
    ift: pd.DataFrame,
    eft_train: pd.DataFrame,
    checked: dict[str, bool],
    training_engine: TrainingEngine,
    sft: SftParams,
    seed: int,
) -> Outcome:
    """M1: M0 fine-tuned on IFT + EFT, loss on the targets only. Paper: section 2.4."""
    examples = ift_examples(ift) + eft_examples(eft_train)
    return _outcome(
        training_engine.sft(model, examples, sft, derive_seed(seed, "m1")), len(examples)
    )


def train_on_positives(
    model: Checkpoint,
    ift: pd.DataFrame,
    eft_train: pd.DataFrame,
    judged_responses: pd.DataFrame,
    checked: dict[str, bool],
    training_engine: TrainingEngine,
    sft: SftParams,
    seed: int,
) -> Outcome:
    """The control without preferences: SFT on the seed data and on responses given a full 5.

    Responses that were dropped as cut or empty have no reward, so they are none of these.
    Paper: an ablation; adding positive examples alone brought no gain.
    """
    perfect = judged_responses[judged_responses["reward"] == 5]
    examples = ift_examples(ift) + eft_examples(eft_train) + drawn_examples(perfect)
    trained = training_engine.sft(model, examples, sft, derive_seed(seed, "positives"))
    checkpoint, log, metrics = _outcome(trained, len(examples))
    return checkpoint, log, {**metrics, "train/positives": float(len(perfect))}


def check_training(
    model: Checkpoint,
    train_metrics: dict[str, float],
    sft: SftParams,
) -> dict[str, bool]:
    """Lets a model stand. Training asked the same, but limits may have been tightened since.

    Raises:
        GateError: What training left breaks a limit of today.
    """
    left_out, used = train_metrics["train/dropped_too_long"], train_metrics["train/examples"]
    sft.refuse_beyond_limits(model.name, left_out, used)
    return {"checked": True}


def ift_examples(table: pd.DataFrame) -> list[Example]:
    """Prompt and response of each row."""
    return [Example(row.prompt, row.response) for row in table.itertuples()]


def drawn_examples(table: pd.DataFrame) -> list[Example]:
    """Prompt and response of each row; one that was cut stays open."""
    return [
        Example(row.prompt, row.response, complete=row.finish == "stop")
        for row in table.itertuples()
    ]


def eft_examples(table: pd.DataFrame) -> list[Example]:
    """The filled judge prompt, and justification with score, of each row."""
    return [Example(row.prompt, row.completion) for row in table.itertuples()]


def _outcome(trained: Trained, examples: int) -> Outcome:
    metrics = {
        "train/examples": float(examples - trained.too_long),
        "train/dropped_too_long": float(trained.too_long),
        **trained.metrics(),
    }
    return trained.checkpoint, pd.DataFrame(trained.log), metrics


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
