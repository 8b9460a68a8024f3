"""What both trainers share: the guard of the loss, the log, and calm around the libraries."""

import logging
import math
import os
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import datasets
import numpy as np
import torch
from transformers import TrainerCallback
from transformers.utils import logging as transformers_logging

from srlm_kedro.display.progress import Progress
from srlm_kedro.errors import GateError

_log = logging.getLogger(__name__)
_KEYS = ("loss", "learning_rate", "grad_norm", "log_ratio")
_PREFIXES = ("rewards/", "logps/")


class Guarded:
    """A trainer that stops at the first loss that is no number, and calls nobody."""

    def __init__(self, *args: Any, label: str, **kwargs: Any):
        """As TRL's; `label` says what is trained, for messages: `DPO of m1`."""
        self.label = label
        super().__init__(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The loss of a micro-batch, once it is seen to be finite.

        Raises:
            GateError: It is NaN or infinite.
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

    def _send_telemetry(self) -> None:
        """TRL reports every trainer to a server unless told otherwise; a run here does not."""


class Telling(TrainerCallback):
    """Tells how far training is; the last step's values are logged too."""

    def __init__(self, label: str):
        """`label` says what is trained."""
        self._tell = told(label)
        self._loss = math.nan  # none is known before the first step's is logged

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Asks for the last step's values too, which are told with them."""
        if state.global_step == state.max_steps:
            control.should_log = True
        else:
            self._tell(state.global_step, state.max_steps, self._loss)
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict, **kwargs: Any) -> None:
        """Keeps the loss; the summary at the end has none."""
        if "loss" in logs:
            self._loss = logs["loss"]
            if state.global_step == state.max_steps:
                self._tell(state.global_step, state.max_steps, self._loss)


def logged(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The rows of `Trained.log` in a trainer's own; the summary at its end is left out."""
    return [
        {"step": float(row["step"])}
        | {key: float(v) for key, v in row.items() if key in _KEYS or key.startswith(_PREFIXES)}
        for row in history
        if "loss" in row
    ]


def told(label: str) -> Callable[[int, int, float], None]:
    """Tells each step to whoever shows progress, and its last one to the log."""
    progress: Progress | None = None

    def tell(step: int, steps: int, loss: float) -> None:
        nonlocal progress
        if progress is None:
            progress = Progress(label, steps, "steps")
            progress.skip(step - 1)  # done by a run that was killed
        progress.reach(step, "" if math.isnan(loss) else f"loss {loss:.4f}")
        if step == steps:
            _log.info("%s: %d steps, at the end loss %.4f", label, steps, loss)

    return tell


@contextmanager
def calm(threads: int | None) -> Iterator[None]:
    """Inside: `threads` CPU threads, and no progress bars of libraries. Afterwards: as before.

    The global random generators, which trainers seed, are put back too.
    """
    before = torch.get_num_threads(), os.environ.get("TQDM_DISABLE")
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    bars = transformers_logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    torch.set_num_threads(threads or before[0])
    os.environ["TQDM_DISABLE"] = "1"  # ours tells of all work, beside which theirs break lines
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
    # TRL 1.16 itself still reads the name that transformers 5 renamed.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    # peft sets right by itself what lies transposed in GPT-2.
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
