"""Training on preference pairs by DPO. Paper: section 2.3, AI feedback training."""

from collections.abc import Callable

import pandas as pd
from kedro.pipeline import Node, Pipeline

from srlm_kedro.engines.training.base import TrainingEngine
from srlm_kedro.engines.training.params import DpoParams
from srlm_kedro.records import Checkpoint, Preference, derive_seed


def train_dpo(
    policy: Checkpoint,
    pairs: pd.DataFrame,
    checked: dict[str, float],
    training_engine: TrainingEngine,
    dpo: DpoParams,
    seed: int,
) -> tuple[Checkpoint, pd.DataFrame, dict[str, float]]:
    """M_t: M_(t-1) trained by DPO on the pairs that it made. The reference is M_(t-1) too, frozen.

    `checked` comes from the gate of the iteration: nothing is trained before the gate opens.
    """
    preferences = [
        Preference(
            *(row.prompt, row.chosen, row.rejected),
            chosen_complete=row.chosen_finish == "stop",
            rejected_complete=row.rejected_finish == "stop",
        )
        for row in pairs.itertuples()
    ]
    label = f"dpo {policy.name}"
    trained = training_engine.dpo(policy, policy, preferences, dpo, derive_seed(seed, label))
    metrics = {
        "train/pairs": float(len(preferences) - trained.too_long),
        "train/dropped_too_long": float(trained.too_long),
        **trained.metrics(),
    }
    return trained.checkpoint, pd.DataFrame(trained.log), metrics


def train_soft_dpo(
    policy: Checkpoint,
    pairs: pd.DataFrame,
    consistency_metrics: dict[str, float],
    checked: dict[str, float],
    training_engine: TrainingEngine,
    dpo: DpoParams,
    seed: int,
) -> tuple[Checkpoint, pd.DataFrame, dict[str, float]]:
    """`train_dpo` with soft labels, where two judges' rewards agree at a rate C.

    The loss of a pair weighs its order by C and the opposite order by 1 - C.
    Source: CREAM (2410.12735).
    """
    doubt = 1 - consistency_metrics["consistency/rate"]
    soft = dpo.model_copy(update={"label_smoothing": doubt})
    checkpoint, log, metrics = train_dpo(policy, pairs, checked, training_engine, soft, seed)
    return checkpoint, log, {**metrics, "train/label_smoothing": doubt}


def check_training(
    model: Checkpoint,
    train_log: pd.DataFrame,
    train_metrics: dict[str, float],
    dpo: DpoParams,
) -> dict[str, bool]:
    """Accepts a trained model. The training checked the same limits; they may be tighter now.

    Raises:
        GateError: The training's log or metrics break a limit.
    """
    left_out, used = train_metrics["train/dropped_too_long"], train_metrics["train/pairs"]
    faults = []
    largest = train_log["log_ratio"].max()
    if not largest <= dpo.max_log_ratio:
        faults.append(
            f"the log-ratio of a token reached {largest:.2f} nats (limit `dpo.max_log_ratio` = "
            f"{dpo.max_log_ratio:g}). Lower `dpo.learning_rate`, raise `dpo.beta`, or the limit"
        )
    dpo.refuse_beyond_limits(model.name, left_out, used, faults)
    return {"checked": True}


def create_pipeline() -> Pipeline:
    """`policy`, `pairs`, `checked` -> `model`, `train_log`, `train_metrics`, `training_checked`."""
    return _train(train_dpo, ["policy", "pairs"])


def create_soft_pipeline() -> Pipeline:
    """The same with `consistency_metrics`, by which the labels are softened."""
    return _train(train_soft_dpo, ["policy", "pairs", "consistency_metrics"])


def _train(train: Callable, tables: list[str]) -> Pipeline:
    inputs = [*tables, "checked", "training_engine", "params:dpo", "params:seed"]
    outputs = ["model", "train_log", "train_metrics"]
    return Pipeline(
        [
            Node(train, inputs, outputs, name="train_dpo"),
            Node(
                check_training, [*outputs, "params:dpo"], "training_checked", name="check_training"
            ),
        ]
    )
