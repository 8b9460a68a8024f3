"""Preference training. Paper: section 2.3, AI feedback training."""

import pandas as pd
from kedro.pipeline import Node, Pipeline

from srlm_kedro.engines.training.base import DpoParams, TrainingEngine
from srlm_kedro.records import Checkpoint, Preference, derive_seed


def train_dpo(
    policy: Checkpoint,
    pairs: pd.DataFrame,
    checked: dict[str, float],
    training_engine: TrainingEngine,
    dpo: DpoParams,
    seed: int,
) -> tuple[Checkpoint, pd.DataFrame, dict[str, float]]:
    """M_t from M_(t-1), which is policy and reference both, on the pairs it made itself.

    `checked` is the word of the validation gate: nothing trains before it.
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


def check_training(
    model: Checkpoint,
    train_log: pd.DataFrame,
    train_metrics: dict[str, float],
    dpo: DpoParams,
) -> dict[str, bool]:
    """Lets a model stand. Training asked the same, but limits may have been tightened since.

    Raises:
        GateError: What training left breaks a limit of today.
    """
    left_out, used = train_metrics["train/dropped_too_long"], train_metrics["train/pairs"]
    faults = []
    steepest = train_log["log_ratio"].max()
    if not steepest <= dpo.max_log_ratio:
        faults.append(
            f"the log-ratio of a token came to {steepest:.2f} nats (limit `dpo.max_log_ratio` = "
            f"{dpo.max_log_ratio:g}). Lower `dpo.learning_rate`, raise `dpo.beta`, or the limit"
        )
    dpo.refuse_beyond_limits(model.name, left_out, used, faults)
    return {"checked": True}


def train_soft_dpo(
    policy: Checkpoint,
    pairs: pd.DataFrame,
    consistency_metrics: dict[str, float],
    checked: dict[str, float],
    training_engine: TrainingEngine,
    dpo: DpoParams,
    seed: int,
) -> tuple[Checkpoint, pd.DataFrame, dict[str, float]]:
    """`train_dpo` with each pair turned round by the share of trust that the rewards lack.

    The loss of a pair weighs its order by the consistency rate C and the opposite order by 1 - C.
    Source: CREAM (2410.12735).
    """
    doubt = 1 - consistency_metrics["consistency/rate"]
    soft = dpo.model_copy(update={"label_smoothing": doubt})
    checkpoint, log, metrics = train_dpo(policy, pairs, checked, training_engine, soft, seed)
    return checkpoint, log, {**metrics, "train/label_smoothing": doubt}


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
