"""TRL's own trainers with their default settings; data, batch and rate are everybody's."""

import warnings
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from benchmarks.rounds import Setting
from srlm_kedro.records import Checkpoint, Example, Preference


def sft(
    checkpoint: Checkpoint, examples: Sequence[Example], batch: int, rate: float, setting: Setting
) -> float:
    """One pass of `SFTTrainer`; examples seen."""
    rows = [
        {"prompt": _user(each.prompt), "completion": _assistant(each.completion)}
        for each in examples
    ]
    _train(SFTTrainer, SFTConfig, checkpoint, rows, batch, rate, setting)
    return len(rows)


def dpo(
    checkpoint: Checkpoint, pairs: Sequence[Preference], batch: int, rate: float, setting: Setting
) -> float:
    """One pass of `DPOTrainer`, its reference the model it starts from; pairs seen."""
    rows = [
        {
            "prompt": _user(each.prompt),
            "chosen": _assistant(each.chosen),
            "rejected": _assistant(each.rejected),
        }
        for each in pairs
    ]
    _train(DPOTrainer, DPOConfig, checkpoint, rows, batch, rate, setting)
    return len(rows)


def _train(
    trainer_class: Any,
    config: Any,
    checkpoint: Checkpoint,
    rows: list[dict[str, Any]],
    batch: int,
    rate: float,
    setting: Setting,
) -> None:
    # Without these it would not run in float32 on a CPU; on a GPU the defaults stay.
    cpu = {"use_cpu": True, "bf16": False, "dataloader_pin_memory": False}
    settings = {
        "output_dir": str(setting.folder / "trl"),
        "per_device_train_batch_size": batch,
        "learning_rate": rate,
        "num_train_epochs": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **(cpu if setting.device == "cpu" else {}),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Of names that TRL itself still uses.
        trainer = trainer_class(
            model=str(checkpoint.path),
            args=config(**settings),
            train_dataset=Dataset.from_list(rows),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
