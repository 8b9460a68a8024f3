"""The narrow protocol behind which every benchmark harness stands. Imports nothing heavy."""

from collections.abc import Sequence
from typing import Protocol

from srlm_kedro.records import Checkpoint

STDERR = "_stderr"
"""Ending of the standard error's name: `acc_stderr` belongs to `acc`."""


class BenchmarkEngine(Protocol):
    """Measures a model on named benchmark tasks."""

    def run(
        self,
        model: Checkpoint,
        tasks: Sequence[str],
        limit: int | None,
        seed: int,
        num_fewshot: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """Task to metric to value, with `<metric>_stderr` where the error is known.

        Args:
            model: The model to measure.
            tasks: Names that the harness knows. One that stands for several tasks gives its own
                figures if it has any, else those of its tasks.
            limit: Items of a task, the first ones; None takes all.
            seed: The same seed and model give the same numbers.
            num_fewshot: Worked examples before each item; None leaves each task its own number.

        Raises:
            InputError: A task is unknown or its data cannot be had, or the model cannot be read.
        """
        ...
