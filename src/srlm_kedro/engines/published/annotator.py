"""The protocol of every annotator of AlpacaEval. Imports nothing heavy."""

from typing import Protocol

import pandas as pd

PAIR = ["instruction", "output_1", "generator_1", "output_2", "generator_2"]
COLUMNS = [*PAIR, "annotator", "preference", "raw_completion"]
"""Of annotations, and whatever else an annotator tells.

`output_1` is the reference's and `output_2` the model's; `preference` lies between 1 (the reference
is better) and 2 (the model is better), NaN where the annotator gave none; `raw_completion` is what
it said, as text.
"""


class Annotator(Protocol):
    """Compares a model's outputs with those of a reference."""

    def annotate(self, outputs: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """One row an instruction, columns `COLUMNS` and more, in the order of the references.

        Args:
            outputs: The model's, with `instruction`, `output` and `generator`; the same
                instructions in the same order as the references.
            references: Those to beat, in the same format.
        """
        ...

    def control_length(
        self, annotations: pd.DataFrame, difficulty: pd.DataFrame
    ) -> dict[str, float]:
        """Win rates in % as they would be at equal lengths, by name; empty if they cannot be told.

        Args:
            annotations: Of one model, as `annotate` gives them.
            difficulty: What the official fit knows of the official instructions; an empty table
                for instructions of one's own.
        """
        ...


def pair_up(outputs: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
    """Columns `PAIR`: the references' outputs beside the model's, row by row."""
    first = references[["instruction", "output", "generator"]].reset_index(drop=True)
    second = outputs[["output", "generator"]].reset_index(drop=True)
    sides = [first.add_suffix("_1").rename(columns={"instruction_1": "instruction"})]
    return pd.concat([*sides, second.add_suffix("_2")], axis=1)[PAIR]
