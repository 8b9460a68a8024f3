"""What both trainers share: a check of the loss, the log, progress, and the libraries' settings."""

import functools
import logging
import math
import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import datasets
import numpy as np
import torch
from transformers import TrainerCallback
from transformers.utils import logging as transformers_logging

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.training.ranks import FILLER, Ranks, WithoutFillers
from srlm_kedro.errors import GateError
from srlm_kedro.records import derive_seed

_log = logging.getLogger(__name__)
_KEYS = ("loss", "learning_rate", "grad_norm", "log_ratio")
_PREFIXES = ("rewards/", "logps/")


class Guarded:
    """A trainer that stops at the first loss that is not finite, and sends no telemetry."""

    def __init__(self, *args: Any, label: str, ranks: Ranks | None = None, **kwargs: Any):
        """Takes TRL's arguments and two of its own.

        Args:
            args: Of TRL.
            label: What is trained, for messages: `DPO of m1`.
            ranks: The processes that train the model; None: this one alone.
            kwargs: Of TRL.
        """
        self.label = label
        self.ranks = ranks or Ranks()
        super().__init__(*args, **kwargs)
        if self.ranks.many:
            self.data_collator = WithoutFillers(self.data_collator)
            # Until here all ranks have drawn the same; their dropout shall differ.
            torch.manual_seed(derive_seed(self.args.seed, f"rank {self.ranks.rank}"))

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of a micro-batch.

        Raises:
            GateError: The loss is NaN or infinite.
        """
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            step, steps = self.state.global_step + 1, self.state.max_steps
            raise GateError(
                f"{self.label}: the loss is {loss.item()} at step {step} of {steps}; it must be a "
                "finite number. Nothing was saved and the model it started from is unchanged. "
                "Lower learning_rate or max_grad_norm, or train with dtype float32."
            )
        return loss

    def rows_of_step(self) -> int:
        """The rows of the running step, of all ranks and without fillers."""
        args = self.args
        held = args.per_device_train_batch_size * args.gradient_accumulation_steps * self.ranks.size
        start = self.state.global_step * held
        fillers = sum(self._fillers[start : start + held])
        return min(held, len(self.train_dataset) - start) - fillers

    @functools.cached_property
    def _fillers(self) -> list[bool]:
        return list(self.train_dataset[FILLER]) if self.ranks.many else []

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        if FILLER not in self._signature_columns:
            self._signature_columns.append(FILLER)

    def _defer_fsdp_gradient_reduction(self) -> AbstractContextManager[None]:
        """Shards the gradients of each micro-batch; whole ones would wait for the last one."""
        return nullcontext()

    def _send_telemetry(self) -> None:
        """Does nothing. By default TRL reports every trainer to a server."""


class ProgressCallback(TrainerCallback):
    """Reports the progress of training, and makes the trainer log its last step."""

    def __init__(self, report: Callable[[float, int, float], None]):
        """`report` takes the steps done, the number of all steps, and the loss."""
        self._report = report
        self._loss = math.nan  # unknown until the first step is logged
        self._micro_batches = 0  # of the step at work

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Reports a part of a step: few steps of many micro-batches can take minutes each."""
        self._micro_batches += 1
        part = min(self._micro_batches / args.gradient_accumulation_steps, 1)
        self._report(state.global_step + part, state.max_steps, self._loss)
        return control

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Reports the step. For the last step, asks for a log, and `on_log` reports it."""
        self._micro_batches = 0
        if state.global_step == state.max_steps:
            control.should_log = True
        else:
            self._report(state.global_step, state.max_steps, self._loss)
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict, **kwargs: Any) -> None:
        """Keeps the last loss; the trainer's summary at the end has none."""
        if "loss" in logs:
            self._loss = logs["loss"]
            if state.global_step == state.max_steps:
                self._report(state.global_step, state.max_steps, self._loss)


def logged_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The rows of `Trained.log`, from a trainer's history without the summary at its end."""
    return [
        {"step": float(row["step"])}
        | {key: float(v) for key, v in row.items() if key in _KEYS or key.startswith(_PREFIXES)}
        for row in history
        if "loss" in row
    ]


def progress_reporter(label: str) -> Callable[[float, int, float], None]:
    """A function that reports each step to the progress display, and the last one to the log.

    It takes the steps done, with the part of one at work, the number of all steps, and the loss.
    """
    progress: Progress | None = None

    def report(step: float, steps: int, loss: float) -> None:
        nonlocal progress
        if progress is None:
            progress = Progress(label, steps, "steps")
            progress.skip(math.ceil(step) - 1)  # done by an earlier run that was killed
        progress.reach(step, "" if math.isnan(loss) else f"loss {loss:.4f}")
        if step == steps:
            _log.info("%s: %d steps, final loss %.4f", label, steps, loss)

    return report


@contextmanager
def library_settings(threads: int | None) -> Iterator[None]:
    """Inside, libraries use `threads` CPU threads and show no progress bars.

    Afterwards all is as before, also the global random generators, which trainers seed.
    """
    before = torch.get_num_threads(), os.environ.get("TQDM_DISABLE")
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    bars = transformers_logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    torch.set_num_threads(threads or before[0])
    os.environ["TQDM_DISABLE"] = "1"  # their bars would break the lines of our own bar
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            _ignore_known_warnings()
            yield
    finally:
        torch.set_num_threads(before[0])
        _restore_environment("TQDM_DISABLE", before[1])
        _restore_bars(*bars)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _ignore_known_warnings() -> None:
    # TRL 1.16 still reads a name that transformers 5 has changed.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    # peft itself corrects this setting for GPT-2, whose weights are transposed.
    warnings.filterwarnings("ignore", "fan_in_fan_out is set to False", UserWarning)


def _restore_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _restore_bars(transformers_enabled: bool, datasets_disabled: bool) -> None:
    if transformers_enabled:
        transformers_logging.enable_progress_bar()
    if not datasets_disabled:
        datasets.enable_progress_bars()
