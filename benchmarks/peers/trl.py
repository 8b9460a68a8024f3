"""TRL's own trainers: their defaults, or what is asked; data, batch and rate are everybody's."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from benchmarks.rounds import Setting
from srlm_kedro.records import Checkpoint, Example, Preference

Settings = Mapping[str, Any]
"""Fields of TRL's configuration."""


def settings(batch: int, rate: float, setting: Setting, **asked: Any) -> Settings:
    """What every peer is given, and what is asked on top; the rest are TRL's defaults."""
    cpu = {"use_cpu": True, "dataloader_pin_memory": False} if setting.device == "cpu" else {}
    return {
        "output_dir": str(setting.folder / "trl"),
        "per_device_train_batch_size": batch,
        "learning_rate": rate,
        "num_train_epochs": 1,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **cpu,
        **asked,
    }


def sft(checkpoint: Checkpoint, examples: Sequence[Example], asked: Settings) -> float:
    """One pass of `SFTTrainer`; examples seen."""
    rows = [
        {"prompt": _user(each.prompt), "completion": _assistant(each.completion)}
        for each in examples
    ]
    _train(SFTTrainer, SFTConfig, asked, checkpoint, rows)
    return len(rows)


def dpo(checkpoint: Checkpoint, pairs: Sequence[Preference], asked: Settings) -> float:
    """One pass of `DPOTrainer`, its reference the model it starts from; pairs seen."""
    rows = [
        {
            "prompt": _user(each.prompt),
            "chosen": _assistant(each.chosen),
            "rejected": _assistant(each.rejected),
        }
        for each in pairs
    ]
    _train(DPOTrainer, DPOConfig, asked, checkpoint, rows)
    return len(rows)


def _train(
    trainer_class: Any,
    config: Any,
    asked: Settings,
    checkpoint: Checkpoint,
    rows: list[dict[str, Any]],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Of names that TRL itself still uses.
        trainer = trainer_class(
            model=str(checkpoint.path),
            args=config(**asked),
            train_dataset=Dataset.from_list(rows),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
