"""A harness without a model: made-up figures in no time, for tests and for trying the pipelines."""

import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from srlm_kedro.records import Checkpoint, derive_seed

_LOWEST, _HIGHEST = 0.4, 0.7
_STDERR = 0.01


class ScriptedEngine:
    """Gives every task an `acc` out of the task's name, the seed and the model's place."""

    def __init__(self, tax: Annotated[float, Field(ge=-100, le=100)] = 0.0):
        """`tax` is what each iteration after M1 loses on each task, in points."""
        self._tax = tax

    def run(
        self,
        model: Checkpoint,
        tasks: Sequence[str],
        limit: int | None,
        seed: int,
        num_fewshot: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """`acc` and `acc_stderr` of each task; the model's files are not looked at."""
        return {
            task: {"acc": self._acc(model, task, seed), "acc_stderr": _STDERR} for task in tasks
        }

    def _acc(self, model: Checkpoint, task: str, seed: int) -> float:
        start = random.Random(derive_seed(seed, task)).uniform(_LOWEST, _HIGHEST)
        noise = random.Random(derive_seed(seed, task, model.name)).uniform(-_STDERR, _STDERR)
        lost = max(model.iteration - 1, 0) * self._tax / 100
        return min(max(start + noise - lost, 0.0), 1.0)
