"""The file of instructions and reference outputs, in AlpacaEval's own format."""

from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srlm_kedro.datasets.seed_rows import said
from srlm_kedro.errors import InputError, summary


class ReferenceRow(BaseModel):
    """One instruction with the output to beat; other keys are left alone."""

    model_config = ConfigDict(extra="ignore", strict=True)

    instruction: str = Field(min_length=1)
    output: str
    generator: str = Field(min_length=1)
    dataset: str = ""


def read_references(alpaca_eval_set: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table `instruction`, `output`, `generator`, `dataset`.

    Raises:
        InputError: Rows that do not fit, an instruction that comes twice, several generators.
    """
    if not isinstance(alpaca_eval_set, list) or not alpaca_eval_set:
        raise InputError(f"{_RULE} Found {type(alpaca_eval_set).__name__} without rows.")
    rows, faults = [], []
    for number, found in enumerate(alpaca_eval_set, start=1):
        try:
            rows.append(ReferenceRow.model_validate(found).model_dump())
        except ValidationError as error:
            faults.append(f"item {number} of the list: {said(error)}")
    table = pd.DataFrame(rows, columns=list(ReferenceRow.model_fields))
    twice = table.loc[table["instruction"].duplicated(), "instruction"]
    faults += [f"an instruction comes twice: {text[:60]!r}" for text in twice]
    if table["generator"].nunique() > 1:
        faults.append(f"several generators: {', '.join(table['generator'].unique()[:3])}")
    if faults:
        raise InputError(summary(_RULE, faults))
    return table


_RULE = (
    "alpaca_eval_set: a JSON list of objects with instruction, output, generator and dataset, "
    "each instruction once and all of one generator."
)
