"""Both responses of a pair in one row, after the prompt that they share.

A row has three parts: the prompt without its last token; that token and the chosen response; that
token again and the rejected response. The rejected response has the same positions as the chosen
one and does not see it. So every token has the same log-probability as in a row of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.utils import FusedCausalLMOutput

from srlm_kedro.engines.training.trl.token_rows import IGNORED, Row, length, tokens

_PROMPT, _CHOSEN, _REJECTED, _PADDING = range(4)
_MASK_KERNELS = ("sdpa", "eager")
"""Attention kernels that take any mask; the flash kernels do not."""
_WINDOW_NAMES = ("sliding_window", "attention_chunk_size")
"""Architectures' names for how far back a token sees."""


@dataclass(frozen=True)
class PairCollator:
    """Makes two views of a micro-batch of pairs: the rows for the model, and the responses."""

    pad_token_id: int

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """The batch. The loss sees all chosen responses and then all rejected ones, as in TRL.

        Args:
            rows: Pairs. Each prompt has at least one token.

        Returns:
            `input_ids` and `completion_mask`, [2 pairs, 1 + longest response]: the prompt's last
            token and the response. `row_ids`, `row_positions`, `row_parts` and `row_targets`,
            [pairs, longest row]. The reference's log-probabilities, if the rows hold them.
        """
        responses = [
            row["prompt_ids"][-1:] + row[side]
            for side in ("chosen_ids", "rejected_ids")
            for row in rows
        ]
        masks = [[0] + [1] * (len(ids) - 1) for ids in responses]
        made = [_shared_row(row) for row in rows]
        parts = _padded([one["parts"] for one in made], _PADDING)
        batch = {
            "input_ids": _padded(responses, self.pad_token_id),
            "completion_mask": _padded(masks, 0),
            "attention_mask": (parts != _PADDING).long(),
            "row_ids": _padded([one["ids"] for one in made], self.pad_token_id),
            "row_positions": _padded([one["positions"] for one in made], 0),
            "row_targets": _padded([one["targets"] for one in made], IGNORED),
            "row_parts": parts,
        }
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])
        return batch


@dataclass(frozen=True)
class PairScorer:
    """Scores a batch of `PairCollator`. TRL's DPO trainer calls it as it calls a model."""

    model: Any
    """A model with TRL's head, or a `CompletionScorer`."""
    kernel: str
    """The name of the model's attention implementation."""

    def __call__(
        self,
        *,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        row_ids: torch.Tensor,
        row_positions: torch.Tensor,
        row_targets: torch.Tensor,
        row_parts: torch.Tensor,
        **others: Any,
    ) -> FusedCausalLMOutput:
        """The log-probabilities of all chosen responses and then of all rejected ones."""
        found = self.model(
            input_ids=row_ids,
            position_ids=row_positions,
            attention_mask=_mask(row_parts, self.kernel),
            shift_labels=row_targets,
            **others,
        )
        chosen, rejected = row_parts == _CHOSEN, row_parts == _REJECTED
        scored = labels[:, 1:] != IGNORED

        def by_response(values: torch.Tensor | None) -> torch.Tensor | None:
            if values is None:
                return None
            flat = torch.cat([values[chosen], values[rejected]])
            return values.new_zeros(scored.shape).masked_scatter(scored, flat)

        names = ("log_probs", "entropy", "mean_logits", "is_top1")
        fields = {name: by_response(getattr(found, name)) for name in names}
        return FusedCausalLMOutput(label_mask=scored, aux_loss=found.aux_loss, **fields)


def reason_against_sharing(model: Any, rows: Sequence[Row]) -> str | None:
    """Why pairs cannot share a row, judged by the model's configuration; None if they can.

    Our mask replaces the mask of a sliding window, so no sequence may be longer than the window.
    """
    config = model.config.get_text_config(decoder=True)
    if config._attn_implementation not in _MASK_KERNELS:
        known = " or ".join(_MASK_KERNELS)
        return f"its attention runs as {config._attn_implementation}, not as {known}"
    longest = max(map(length, rows))
    for name in _WINDOW_NAMES:
        window = getattr(config, name, None)
        if window and window < longest:
            return f"{name} = {window}, and sequences have up to {longest} tokens"
    if not all(row["prompt_ids"] for row in rows):
        return "a prompt has no token"
    return None


def is_less_work(rows: Sequence[Row], width: int) -> bool:
    """Whether one row per pair is less work than two, in a model of this width.

    A layer's matrices take about 12 width^2 multiplications per token. Its attention takes 2 width
    per token that a token sees. For long responses to short prompts, the attention in a shared row
    costs more than sharing saves.
    """

    def work(count: int) -> int:
        return count * (6 * width + count)

    shared = sum(work(tokens(row)) for row in rows)
    separate = sum(
        work(len(row["prompt_ids"]) + len(row[side]))
        for row in rows
        for side in ("chosen_ids", "rejected_ids")
    )
    return shared < separate


def _shared_row(row: Row) -> dict[str, list[int]]:
    prompt, chosen, rejected = row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]
    shared = len(prompt) - 1
    return {
        "ids": prompt + chosen[:-1] + prompt[-1:] + rejected[:-1],
        "positions": [
            *range(shared + len(chosen)),
            *range(shared, shared + len(rejected)),
        ],
        "targets": [IGNORED] * shared + chosen + rejected,
        "parts": [_PROMPT] * shared + [_CHOSEN] * len(chosen) + [_REJECTED] * len(rejected),
    }


def _mask(parts: torch.Tensor, kernel: str) -> torch.Tensor:
    """Which token sees which, [pairs, 1, length, length].

    A token sees the earlier tokens of the prompt and of its own part. Padding sees itself, so that
    no row of the softmax is empty.
    """
    seen = (parts == _PROMPT)[:, None, :] | (parts[:, None, :] == parts[:, :, None])
    allowed = seen.tril()[:, None]
    if kernel == "sdpa":
        return allowed
    lowest = torch.finfo(torch.float32).min
    return torch.zeros_like(allowed, dtype=torch.float32).masked_fill(~allowed, lowest)


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], True, value)
