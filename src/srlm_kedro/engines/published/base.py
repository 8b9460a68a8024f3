"""The protocols of the engines for published benchmarks. Imports nothing heavy.

An `Annotator` compares outputs for AlpacaEval. A `BenchmarkEngine` measures tasks of a harness.
"""

from collections.abc import Sequence
from typing import Protocol

import pandas as pd

from srlm_kedro.records import Checkpoint

PAIR_COLUMNS = ["instruction", "output_1", "generator_1", "output_2", "generator_2"]
COLUMNS = [*PAIR_COLUMNS, "annotator", "preference", "raw_completion"]
"""The columns of annotations. An annotator may add others.

`output_1` is the reference's output and `output_2` the model's. `preference` is between 1 (the
reference is better) and 2 (the model is better), or NaN if the annotator gave none.
`raw_completion` is what the annotator wrote, as text.
"""
STDERR = "_stderr"
"""The ending of a standard error's name: `acc_stderr` belongs to `acc`."""


class Annotator(Protocol):
    """Compares a model's outputs with the outputs of a reference."""

    def annotate(self, outputs: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """One row per instruction, with columns `COLUMNS` and more, in the references' order.

        Args:
            outputs: The model's `instruction`, `output` and `generator`. The instructions are the
                same as in the references, in the same order.
            references: The outputs to beat, in the same format.
        """
        ...

    def control_length(
        self, annotations: pd.DataFrame, difficulty: pd.DataFrame
    ) -> dict[str, float]:
        """Win rates in % at equal lengths, by name; empty if they cannot be computed.

        Args:
            annotations: The annotations of one model, as `annotate` gives them.
            difficulty: What the official fit knows about the official instructions. For other
                instructions it is an empty table.
        """
        ...


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
        """Task to metric to value, with `<metric>_stderr` if the standard error is known.

        Args:
            model: The model to measure.
            tasks: Names that the harness knows. A name for several tasks gives its own figures if
                it has any, or else the figures of its tasks.
            limit: The number of items per task, from the first on; None takes all.
            seed: The same seed and model give the same numbers.
            num_fewshot: Worked examples before each item; None leaves each task its own number.

        Raises:
            InputError: A task is unknown or its data is missing, or the model cannot be read.
        """
        ...


def pair_outputs(outputs: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Columns `PAIR_COLUMNS`: the reference's output and the model's output in each row."""
    first = references[["instruction", "output", "generator"]].reset_index(drop=True)
    second = outputs[["output", "generator"]].reset_index(drop=True)
    sides = [first.add_suffix("_1").rename(columns={"instruction_1": "instruction"})]
    return pd.concat([*sides, second.add_suffix("_2")], axis=1)[PAIR_COLUMNS]
