"""The prompts of evaluation sets, from any known form."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from srlm_kedro.errors import InputError, summary

_FORMS = "id and prompt, instruction (AlpacaEval), or question_id and turns (MT-Bench)"

EvalSet = pd.DataFrame | list[dict[str, Any]]


def read_eval_sets(eval_sets: Mapping[str, EvalSet]) -> dict[str, pd.DataFrame]:
    """Each set as a table id, prompt. AlpacaEval rows get numbers; each MT-Bench turn is a row.

    Raises:
        InputError: All sets that are empty or of an unknown form.
    """
    tables = {name: _read(pd.DataFrame(given)) for name, given in eval_sets.items()}
    faults = [
        f"{name}: no prompts" if table is not None else f"{name}: needs columns {_FORMS}"
        for name, table in tables.items()
        if table is None or table.empty
    ]
    if faults:
        raise InputError(summary("contamination: evaluation sets that cannot be read.", faults))
    return {name: table for name, table in tables.items() if table is not None}


def _read(given: pd.DataFrame) -> pd.DataFrame | None:
    """The set's prompts; None if its form is unknown."""
    if {"id", "prompt", "follow_up"} <= set(given):
        rows = [
            (f"{row.id}-t{number}", turn)
            for row in given.itertuples()
            for number, turn in enumerate((row.prompt, row.follow_up), 1)
        ]
        return pd.DataFrame(rows, columns=["id", "prompt"], dtype=str)
    if {"id", "prompt"} <= set(given):
        return given[["id", "prompt"]].astype(str)
    if "instruction" in given:
        ids = [str(number) for number in range(len(given))]
        return pd.DataFrame({"id": ids, "prompt": given["instruction"].to_list()}, dtype=str)
    if {"question_id", "turns"} <= set(given):
        rows = [
            (f"{row.question_id}-t{number}", turn)
            for row in given.itertuples()
            for number, turn in enumerate(row.turns, 1)
        ]
        return pd.DataFrame(rows, columns=["id", "prompt"], dtype=str)
    return given if given.empty else None
