"""The whole state of a trainer: kept from time to time, and restored to the same bits."""

import dataclasses
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from srlm_kedro.engines.training.resume.shards import Parts, as_part_of, own
from srlm_kedro.engines.training.resume.unfinished import UnfinishedTraining
from srlm_kedro.records import derive_seed


class Resumable:
    """A TRL trainer that keeps its state in `unfinished`, and goes on from the state found there.

    The methods of transformers that would pickle are overridden. Transformers still skips the rows
    that were already read.
    """

    def __init__(self, *args: Any, unfinished: UnfinishedTraining | None = None, **kwargs: Any):
        """Takes TRL's arguments; `unfinished` None keeps nothing."""
        self.unfinished = unfinished or UnfinishedTraining("training")
        self._found: Parts | None = None
        super().__init__(*args, **kwargs)
        self.add_callback(_StateCallback(self))

    def train(self) -> None:
        """Trains from the first step, or from the newest kept state."""
        self._found = self.unfinished.newest()
        if self._found is None:
            super().train()
            return
        folder = Path(self.args.output_dir) / f"found-{self.args.process_index}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRAINER_STATE_NAME).write_text(json.dumps(self._found["trainer"]), "utf-8")
        super().train(resume_from_checkpoint=str(folder))

    def restore_sums(self) -> None:
        """Restores the sums since the last row of the log."""
        if self._found is None:
            return
        sums = self._found["sums"]
        self._tr_loss = sums["loss"].to(self._tr_loss.device)
        self._total_loss_scalar = sums["total_loss"]
        self._globalstep_last_logged = sums["last_logged"]
        self._metrics["train"].update(sums["metrics"])
        self._total_train_tokens = sums["tokens"]

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        sums = {
            "loss": own(self._tr_loss),
            "total_loss": self._total_loss_scalar,
            "last_logged": self._globalstep_last_logged,
            "metrics": self._metrics["train"],
            "tokens": self._total_train_tokens,
        }
        parts = {
            "weights": trained_weights(self.model),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.lr_scheduler.state_dict(),
            "random": random_states(),
            "trainer": dataclasses.asdict(self.state),
            "sums": sums,
        }
        self.unfinished.keep(self.state.global_step, self.state.max_steps, parts)

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        restore_weights(self.model, self._found["weights"])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.optimizer.load_state_dict(self._found["optimizer"])
            for weight, values in self.optimizer.state.items():
                values.update({name: as_part_of(one, weight) for name, one in values.items()})
            self.lr_scheduler.load_state_dict(self._found["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_random_states(self._found["random"])
            if not self._found.same:  # all ranks have got the numbers of the first one
                place = f"rank {self.args.process_index} from step {self.state.global_step}"
                torch.manual_seed(derive_seed(self.args.seed, place))


class _StateCallback(TrainerCallback):
    """Decides when the trainer's state is kept, and restores its sums before the first step."""

    def __init__(self, trainer: Resumable):
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.restore_sums()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        control.should_save = self._trainer.unfinished.due()
        return control


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """The trained parameters by name: all of them, or those of an adapter."""
    return {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}


def restore_weights(model: Any, kept: Mapping[str, torch.Tensor]) -> None:
    """Sets the trained parameters to the kept values, in place."""
    for name, weight in trained_weights(model).items():
        weight.copy_(as_part_of(kept[name], weight))


def random_states() -> dict[str, Any]:
    """The states of the global random generators: Python, NumPy, torch on the CPU and the GPU."""
    algorithm, keys, *rest = np.random.get_state()
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None
    return {
        "python": random.getstate(),
        "numpy": (algorithm, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "gpu": gpu,
    }


def restore_random_states(kept: Mapping[str, Any]) -> None:
    """Restores the states of the global random generators."""
    random.setstate(kept["python"])
    np.random.set_state(kept["numpy"])
    torch.set_rng_state(kept["torch"])
    if kept["gpu"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(kept["gpu"])
