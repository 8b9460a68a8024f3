"""Supervised fine-tuning: the SFT baseline, M1, and the positives-only control.

Paper: section 3.1 for the baseline, section 2.4 for M1.
"""

from collections.abc import Callable

import pandas as pd
from kedro.pipeline import Node, Pipeline

from srlm_kedro.engines.training.base import Trained, TrainingEngine
from srlm_kedro.engines.training.params import SftParams
from srlm_kedro.records import Checkpoint, Example, derive_seed

Outcome = tuple[Checkpoint, pd.DataFrame, dict[str, float]]
"""A new model, the training log (one row per logged step), and the metrics."""


def train_sft(
    model: Checkpoint,
    ift: pd.DataFrame,
    checked: dict[str, bool],
    training_engine: TrainingEngine,
    sft: SftParams,
    seed: int,
) -> Outcome:
    """The SFT baseline: M0 fine-tuned on IFT only. Paper: section 3.1.

    `checked` comes from the gate of the seed data: nothing is trained before the gate opens.
    """
    examples = ift_examples(ift)
    trained = training_engine.sft(model, examples, sft, derive_seed(seed, "sft"))
    return _outcome(trained, len(examples))


def train_m1(
    model: Checkpoint,
    ift: pd.DataFrame,
    eft_train: pd.DataFrame,
    checked: dict[str, bool],
    training_engine: TrainingEngine,
    sft: SftParams,
    seed: int,
) -> Outcome:
    """M1: M0 fine-tuned on IFT and EFT, with loss on the completions only. Paper: section 2.4."""
    examples = ift_examples(ift) + eft_examples(eft_train)
    trained = training_engine.sft(model, examples, sft, derive_seed(seed, "m1"))
    return _outcome(trained, len(examples))


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
    """The control without preferences: M0 fine-tuned on seed data and on responses of reward 5.

    Responses that were dropped as cut or empty have no reward, so they are not among these.
    Paper: an ablation; adding only positive examples brought no gain.
    """
    perfect = judged_responses[judged_responses["reward"] == 5]
    examples = ift_examples(ift) + eft_examples(eft_train) + drawn_examples(perfect)
    trained = training_engine.sft(model, examples, sft, derive_seed(seed, "positives"))
    checkpoint, log, metrics = _outcome(trained, len(examples))
    return checkpoint, log, {**metrics, "train/positives": float(len(perfect))}


def ift_examples(table: pd.DataFrame) -> list[Example]:
    """The prompt and the response of each row."""
    return [Example(row.prompt, row.response) for row in table.itertuples()]


def eft_examples(table: pd.DataFrame) -> list[Example]:
    """What the judge is asked, and its answer, of each row.

    No end token follows an answer to a criterion, because only its first token is read.
    """
    complete = table["complete"] if "complete" in table else [True] * len(table)
    rows = zip(table["prompt"], table["completion"], complete, strict=True)
    return [Example(prompt, completion, bool(whole)) for prompt, completion, whole in rows]


def drawn_examples(table: pd.DataFrame) -> list[Example]:
    """The prompt and the response of each row; a response that was cut gets no end token."""
    return [
        Example(row.prompt, row.response, complete=row.finish == "stop")
        for row in table.itertuples()
    ]


def _outcome(trained: Trained, examples: int) -> Outcome:
    metrics = {
        "train/examples": float(examples - trained.too_long),
        "train/dropped_too_long": float(trained.too_long),
        **trained.metrics(),
    }
    return trained.checkpoint, pd.DataFrame(trained.log), metrics


def check_training(
    model: Checkpoint,
    train_metrics: dict[str, float],
    sft: SftParams,
) -> dict[str, bool]:
    """Accepts a trained model. The training checked the same limits; they may be tighter now.

    Raises:
        GateError: The training's metrics break a limit.
    """
    left_out, used = train_metrics["train/dropped_too_long"], train_metrics["train/examples"]
    sft.refuse_beyond_limits(model.name, left_out, used)
    return {"checked": True}


def create_baseline_pipeline() -> Pipeline:
    """The SFT baseline: `base`, `ift`, `checked` -> `model`, `train_log`, `train_metrics`, ..."""
    return _train(train_sft, ["base", "ift", "checked"])


def create_m1_pipeline() -> Pipeline:
    """M1: `base`, `ift`, `eft_train`, `checked` -> `model`, ..."""
    return _train(train_m1, ["base", "ift", "eft_train", "checked"])


def create_positives_pipeline() -> Pipeline:
    """The control: `base`, `ift`, `eft_train`, `judged_responses`, `checked` -> `model`, ..."""
    return _train(train_on_positives, ["base", "ift", "eft_train", "judged_responses", "checked"])


def _train(train: Callable, tables: list[str]) -> Pipeline:
    inputs = [*tables, "training_engine", "params:sft", "params:seed"]
    outputs = ["model", "train_log", "train_metrics"]
    checked = ["model", "train_metrics", "params:sft"]
    return Pipeline(
        [
            Node(train, inputs, outputs, name=train.__name__),
            Node(check_training, checked, "training_checked", name="check_training"),
        ]
    )
