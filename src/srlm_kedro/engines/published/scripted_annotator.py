"""An annotator without a model: it likes the longer output, for tests and for trying pipelines."""

import pandas as pd

from srlm_kedro.engines.published.annotator import COLUMNS, pair_up
from srlm_kedro.errors import InputError
from srlm_kedro.params import Share
from srlm_kedro.records import derive_seed

_PARTS = 10_000


class ScriptedAnnotator:
    """Prefers the output with more characters; equal lengths are a draw, 1.5."""

    def __init__(self, failed: Share = 0.0):
        """Sets the share of instructions that get no preference.

        Raises:
            InputError: The share lies outside 0 to 1.
        """
        if not 0 <= failed <= 1:
            raise InputError(
                f"ScriptedAnnotator: failed = {failed} is no share. Choose one between 0 and 1."
            )
        self._failed = failed

    def annotate(self, outputs: pd.DataFrame, references: pd.DataFrame) -> pd.DataFrame:
        """Columns `COLUMNS`; who gets no preference depends on the instruction alone."""
        pairs = pair_up(outputs, references)
        longer = pairs["output_2"].str.len() - pairs["output_1"].str.len()
        preference = 1.5 + longer.clip(-1, 1) / 2
        chance = pairs["instruction"].map(lambda text: derive_seed(0, text) % _PARTS / _PARTS)
        told = preference.where(chance >= self._failed)
        said = told.map({1.0: "m", 1.5: "both", 2.0: "M"})
        return pairs.assign(annotator="scripted", preference=told, raw_completion=said)[COLUMNS]

    def control_length(
        self, annotations: pd.DataFrame, difficulty: pd.DataFrame
    ) -> dict[str, float]:
        """Nothing: an annotator that looks at lengths alone has no opinion at equal lengths."""
        return {}
