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
    """Ids and labels of each example: `IGNORED` on the prompt; the last one ends the turn.

    A completion that was cut has no such end. Paper: section 3.1, loss on the target tokens only.
    """
    prompts = chat.render_answered(tokenizer, [example.prompt for example in examples])
    completions = chat.render_completions(
        tokenizer,
        [example.completion for example in examples],
        [example.complete for example in examples],
    )
    return [
        {"input_ids": prompt + ids, "labels": [IGNORED] * len(prompt) + ids}
        for prompt, ids in zip(prompts, completions, strict=True)
    ]


def dpo_rows(tokenizer: Any, pairs: Sequence[Preference]) -> list[Row]:
    """Ids of each pair's prompt, chosen and rejected; a response that was not cut ends the turn."""
    prompts = chat.render_answered(tokenizer, [pair.prompt for pair in pairs])
    chosen = chat.render_completions(
        tokenizer, [pair.chosen for pair in pairs], [pair.chosen_complete for pair in pairs]
    )
    rejected = chat.render_completions(
        tokenizer, [pair.rejected for pair in pairs], [pair.rejected_complete for pair in pairs]
    )
    return [
        dict(zip(("prompt_ids", "chosen_ids", "rejected_ids"), ids, strict=True))
        for ids in zip(prompts, chosen, rejected, strict=True)
    ]


def length(row: Row) -> int:
    """Tokens of the row's longest sequence."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def tokens(row: Row) -> int:
    """Tokens of the row when a pair's prompt is counted once: its share of a step's work."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return sum(len(row[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))


def refuse_long(rows: Sequence[Row], prompts: Sequence[str], limit: int, limited_by: str) -> None:
    """Raises InputError if a row has more than `limit` tokens: nothing is ever cut off silently."""
    faults = [
        f"row {index}: {length(row)} tokens, prompt {prompt[:60]!r}"
        for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
        if length(row) > limit
    ]
    if faults:
        advice = (
            "Raise it in the stage's parameters, or drop these rows."
            if limited_by == "max_length"
            else "Drop these rows, or start from a model that sees longer texts."
        )
        heading = (
            f"Training rows: {len(faults)} of {len(rows)} are longer than {limited_by} = {limit} "
            f"tokens, end token included. {advice}"
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
