"""Seed data into the tables that the stages read, with every fault named before work starts."""

import pandas as pd

from srlm_kedro.errors import InputError, summary


def prepare_ift(ift_seed: pd.DataFrame) -> pd.DataFrame:
    """Instruction fine-tuning examples: prompt_id, prompt, response. Paper: section 2.1."""
    return ift_seed.rename(columns={"id": "prompt_id"})[["prompt_id", "prompt", "response"]]


def prepare_eft(eft_seed: pd.DataFrame) -> pd.DataFrame:
    """One row a human-ranked response: prompt_id, prompt, response_id, response, rank (0 best)."""
    rows = [
        (row.id, row.prompt, f"{row.id}-r{number}", response["text"], response["rank"])
        for row in eft_seed.itertuples()
        for number, response in enumerate(row.responses)
    ]
    columns = ["prompt_id", "prompt", "response_id", "response", "rank"]
    return pd.DataFrame(rows, columns=columns)


def refuse_faulty_seed(tables: dict[str, pd.DataFrame]) -> None:
    """Refuses empty and duplicate prompts, and prompts that two tables share.

    Args:
        tables: Seed tables by name, each with the columns `id` and `prompt`.

    Raises:
        InputError: All faults of all tables.
    """
    faults = [fault for name, table in tables.items() for fault in _own_faults(name, table)]
    names = list(tables)
    for position, name in enumerate(names):
        for other in names[position + 1 :]:
            faults += _shared(name, tables[name], other, tables[other])
    if faults:
        rule = (
            "prompts must be unique (`drop: [repeated prompt]` in the catalog keeps the first), "
            "not empty, and in one table alone"
        )
        raise InputError(summary(f"Seed data: {len(faults)} faults; {rule}.", faults))


def _own_faults(name: str, table: pd.DataFrame) -> list[str]:
    if table.empty:
        return [f"{name}: holds no rows"]
    key = _normal(table["prompt"])
    repeated = key.duplicated() & key.ne("")
    same_ids = table.loc[table["id"].duplicated(), "id"]
    return [
        *(f"{name}, id {id_}: the prompt is empty" for id_ in table.loc[key.eq(""), "id"]),
        *(
            f"{name}, id {row.id}: the prompt {row.prompt[:60]!r} stands there twice"
            for row in table[repeated].itertuples()
        ),
        *(f"{name}: the id {id_} stands there twice" for id_ in same_ids),
    ]


def _shared(name: str, table: pd.DataFrame, other: str, other_table: pd.DataFrame) -> list[str]:
    both = table[_normal(table["prompt"]).isin(set(_normal(other_table["prompt"])) - {""})]
    return [
        f"{name} and {other} both hold the prompt {row.prompt[:60]!r} ({name}, id {row.id})"
        for row in both.itertuples()
    ]


def _normal(prompts: pd.Series) -> pd.Series:
    return prompts.str.split().str.join(" ").str.lower()
