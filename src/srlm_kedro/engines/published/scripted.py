"""An annotator and a harness without a model, for tests and for trying the pipelines."""

import random
from collections.abc import Sequence
from typing import Annotated

import pandas as pd
from pydantic import Field

from srlm_kedro.engines.published.base import COLUMNS, pair_outputs
from srlm_kedro.errors import InputError
from srlm_kedro.params import Share
from srlm_kedro.records import Checkpoint, derive_seed

_PARTS = 10_000
_LOWEST, _HIGHEST = 0.4, 0.7
_STDERR = 0.01


class ScriptedAnnotator:
    """Prefers the output with more characters; equal lengths are a tie, 1.5."""

    def __init__(self, failed: Share = 0.0):
        """Sets the share of instructions that get no preference.

        Raises:
            InputError: The share is not between 0 and 1.
        """
        if not 0 <= failed <= 1:
            raise InputError(
                f"ScriptedAnnotator: failed = {failed} is no share. Choose one between 0 and 1."
            )
        self._failed = failed

    def annotate(self, outputs: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """Columns `COLUMNS`; only the instruction decides whether a row gets no preference."""
        pairs = pair_outputs(outputs, references)
        longer = pairs["output_2"].str.len() - pairs["output_1"].str.len()
        preference = 1.5 + longer.clip(-1, 1) / 2
        chance = pairs["instruction"].map(lambda text: derive_seed(0, text) % _PARTS / _PARTS)
        given = preference.where(chance >= self._failed)
        text = given.map({1.0: "m", 1.5: "both", 2.0: "M"})
        return pairs.assign(annotator="scripted", preference=given, raw_completion=text)[COLUMNS]

    def control_length(
        self, annotations: pd.DataFrame, difficulty: pd.DataFrame
    ) -> dict[str, float]:
        """Empty: an annotator that compares only lengths has no preference at equal lengths."""
        return {}


class ScriptedHarness:
    """Makes up an `acc` for every task from the task's name, the seed and the model's name."""

    def __init__(self, tax: Annotated[float, Field(ge=-100, le=100)] = 0.0):
        """`tax` is how many points each iteration after M1 loses on each task."""
        self._tax = tax

    def run(
        self,
        model: Checkpoint,
        tasks: Sequence[str],
        limit: int | None,
        seed: int,
        num_fewshot: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """`acc` and `acc_stderr` for each task; the model's files are not read."""
        return {
            task: {"acc": self._acc(model, task, seed), "acc_stderr": _STDERR} for task in tasks
        }

    def _acc(self, model: Checkpoint, task: str, seed: int) -> float:
        start = random.Random(derive_seed(seed, task)).uniform(_LOWEST, _HIGHEST)
        noise = random.Random(derive_seed(seed, task, model.name)).uniform(-_STDERR, _STDERR)
        lost = max(model.iteration - 1, 0) * self._tax / 100
        return min(max(start + noise - lost, 0.0), 1.0)
