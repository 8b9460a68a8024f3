"""Rows that draw over a cache of transformers: for every model, one full copy a row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from srlm_kedro.engines.generation.cache import GrowingCache


@dataclass
class _State:
    """What the next step needs; all of it shrinks together."""

    positions: torch.Tensor
    mask: torch.Tensor
    cache: GrowingCache

    def select(self, rows: torch.Tensor) -> None:
        self.positions = self.positions[rows]
        self.mask = self.mask[rows]
        self.cache.select(rows)


class PlainDecoder:
    """Logits of rows that start together; each holds the keys and values of its whole prompt."""

    def __init__(self, model: Any):
        """Takes a causal language model of transformers, in evaluation mode."""
        self._model, self._device = model, model.device
        self._state: _State | None = None

    @property
    def vacant(self) -> float:
        """Groups that may join now: any number where there is none."""
        return 0 if self._state else math.inf

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> torch.Tensor:
        """Logits (sum of copies, vocabulary) behind each prompt; no row may be there yet.

        The prompts stand flush right, so that every row's next token falls into the same column.
        """
        ids, mask = _flush_right(prompts, self._device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        layers = self._model.config.get_text_config(decoder=True).num_hidden_layers
        self._state = _State(positions[:, -1] + 1, mask, GrowingCache(layers))
        logits = self._forward(ids, positions)
        rows = torch.arange(len(prompts)).repeat_interleave(torch.tensor(copies))
        rows = rows.to(self._device)
        self._state.select(rows)
        return logits[rows]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) behind one more token a row."""
        state = self._state
        state.mask = torch.cat([state.mask, state.mask.new_ones(len(tokens), 1)], dim=1)
        logits = self._forward(tokens[:, None], state.positions[:, None])
        state.positions = state.positions + 1
        return logits

    def drop(self, done: set[int]) -> list[int]:
        """Takes rows out; says which row now stands at each place."""
        left = [row for row in range(len(self._state.positions)) if row not in done]
        if left:
            self._state.select(torch.tensor(left, device=self._device))
        else:
            self._state = None
        return left

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Logits behind the last column; keys and values are appended to the cache."""
        return self._model(
            input_ids=ids,
            attention_mask=self._state.mask,
            position_ids=positions,
            past_key_values=self._state.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]


def _flush_right(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids and a mask of ones where an id stands; the padding's own ids do not matter."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    held = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, held
