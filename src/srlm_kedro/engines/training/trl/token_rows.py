"""The rows of a training: examples and pairs as token ids, their lengths and their order."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.engines import chat
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Example, Preference

POSITIONS = "the model's max_position_embeddings"
_SETTING = "max_length"
IGNORED = -100
"""The label of a token that has no loss."""

Row = dict[str, Any]


def sft_rows(tokenizer: Any, examples: Sequence[Example]) -> list[Row]:
    """Ids and labels of each example. The labels of the prompt are `IGNORED`.

    The last token ends the turn, unless the completion was cut.
    Paper: section 3.1, loss on the target tokens only.
    """
    prompts = chat.render_for_answers(tokenizer, [example.prompt for example in examples])
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
    """Ids of each pair's prompt, chosen and rejected response.

    The last token of a response ends the turn, unless the response was cut.
    """
    prompts = chat.render_for_answers(tokenizer, [pair.prompt for pair in pairs])
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
    """The number of tokens in the row's longest sequence."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))


def tokens(row: Row) -> int:
    """The number of tokens in the row, with a pair's prompt counted once: its share of the work."""
    if "input_ids" in row:
        return len(row["input_ids"])
    return sum(len(row[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))


@dataclass(frozen=True)
class Limit:
    """The most tokens that a row may have, and the name of what sets this limit."""

    tokens: int
    name: str

    def fault(self, row: Row) -> str:
        """Why the row is too long; empty if it fits."""
        found = length(row)
        return f"{found} tokens > {self.name} = {self.tokens}" if found > self.tokens else ""

    def heading(self, found: int, rows: int) -> str:
        """The first line of a message: how many rows are too long, and what to do."""
        advice = (
            "Raise it in the stage's parameters, or drop these rows."
            if self.name == _SETTING
            else "Drop these rows, or start from a model that can see longer texts."
        )
        return (
            f"Training rows: {found} of {rows} are longer than {self.name} = {self.tokens} "
            f"tokens, end token included. {advice}"
        )


def limit_of(max_length: int, positions: int | None) -> Limit:
    """The smaller limit: what the stage allows, or what the model can see."""
    fits = positions is None or max_length <= positions
    return Limit(max_length, _SETTING) if fits else Limit(positions, POSITIONS)


def long_rows(rows: Sequence[Row], prompts: Sequence[str], limit: Limit) -> dict[int, str]:
    """The places of the rows that are too long, each with a line for a message.

    The line does not name the place, because it is a place in no file of the user.
    """
    return {
        place: f"{length(row)} tokens with the prompt {prompt[:60]!r}"
        for place, (row, prompt) in enumerate(zip(rows, prompts, strict=True))
        if limit.fault(row)
    }


def refuse_long(rows: Sequence[Row], prompts: Sequence[str], limit: Limit) -> None:
    """Raises InputError if a row is too long. Rows are never cut silently."""
    if faults := long_rows(rows, prompts, limit):
        raise InputError(summary(limit.heading(len(faults), len(rows)), list(faults.values())))


def reading_order(lengths: Sequence[int], batch_size: int, epochs: float, seed: int) -> list[int]:
    """Row numbers in the order of training: shuffled in each epoch, longest first in each batch.

    Sorting within a batch does not change which rows a step has, so the gradient is the same. But
    rows of similar length then share a micro-batch, so it has little padding.
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
