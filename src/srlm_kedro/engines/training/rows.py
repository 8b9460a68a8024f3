"""From examples and pairs to token ids, and the order in which training reads them."""

import random
from collections.abc import Sequence
from typing import Any

from srlm_kedro.engines import chat
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Example, Preference

IGNORED = -100
"""The label of a token on which no loss falls."""

Row = dict[str, Any]


def sft_rows(tokenizer: Any, examples: Sequence[Example]) -> list[Row]:
    """Ids and labels of each example: the prompt's labels are `IGNORED`, the last one is eos.

    Paper: section 3.1, loss on the target tokens only.
    """
    prompts = chat.render_all(tokenizer, [example.prompt for example in examples])
    rows = []
    for prompt, example in zip(prompts, examples, strict=True):
        completion = chat.render_completion(tokenizer, example.completion)
        labels = [IGNORED] * len(prompt) + completion
        rows.append({"input_ids": prompt + completion, "labels": labels})
    return rows


def dpo_rows(tokenizer: Any, pairs: Sequence[Preference]) -> list[Row]:
    """Ids of each pair's prompt, chosen and rejected; the responses end with eos."""
    prompts = chat.render_all(tokenizer, [pair.prompt for pair in pairs])
    return [
        {
            "prompt_ids": prompt,
            "chosen_ids": chat.render_completion(tokenizer, pair.chosen),
            "rejected_ids": chat.render_completion(tokenizer, pair.rejected),
        }
        for prompt, pair in zip(prompts, pairs, strict=True)
    ]


def length(row: Row) -> int:
    """Tokens of the row's longest sequence."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def refuse_long(rows: Sequence[Row], prompts: Sequence[str], limit: int, limited_by: str) -> None:
    """Raises InputError if a row has more than `limit` tokens: nothing is ever cut off silently."""
    faults = [
        f"row {index}: {length(row)} tokens, prompt {prompt[:60]!r}"
        for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
        if length(row) > limit
    ]
    if faults:
        heading = (
            f"Training rows: {len(faults)} of {len(rows)} are longer than {limited_by} = {limit} "
            "tokens, end token included. Raise it, or drop these rows."
        )
        raise InputError(summary(heading, faults))


def reading_order(lengths: Sequence[int], batch_size: int, epochs: float, seed: int) -> list[int]:
    """Row numbers in the order of training: shuffled anew each epoch, longest first in a batch.

    The sorting leaves a step's rows as they fell, so the gradient is the same; rows of like
    length then share a micro-batch and little of it is padding.
    """
    shuffler = random.Random(seed)
    total = max(1, round(len(lengths) * epochs))
    rows: list[int] = []
    while len(rows) < total:
        rows += shuffler.sample(range(len(lengths)), len(lengths))
    batches = (
        rows[start : min(start + batch_size, total)] for start in range(0, total, batch_size)
    )
    return [
        row for batch in batches for row in sorted(batch, key=lengths.__getitem__, reverse=True)
    ]
