"""Keys and values in buffers that grow by blocks, behind transformers' cache interface."""

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_ROOM = 16
"""Columns by which a full buffer grows: more would be copied less, but spread reads wider."""


class GrowingLayer(DynamicLayer):
    """One layer's keys and values; a step writes one column where the library's copies them all."""

    def __init__(self) -> None:
        """Starts empty; buffers are made by the first write."""
        super().__init__()
        self._length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends columns; returns views of everything held."""
        start, self._length = self._length, self._length + key_states.shape[-2]
        if not self.is_initialized:
            self._keys, self._values = self._buffer(key_states), self._buffer(value_states)
            self.is_initialized = True
        elif self._length > self._keys.shape[-2]:
            self._keys, self._values = (self._larger(b, start) for b in (self._keys, self._values))
        self._keys[:, :, start : self._length] = key_states
        self._values[:, :, start : self._length] = value_states
        return self._show()

    def get_seq_length(self) -> int:
        """Columns held."""
        return self._length

    def select(self, rows: torch.Tensor) -> None:
        """Keeps these rows, in this order; a row may be named more than once."""
        self._keys = self._keys.index_select(0, rows)
        self._values = self._values.index_select(0, rows)
        self._show()

    def _show(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = (b[:, :, : self._length] for b in (self._keys, self._values))
        return self.keys, self.values

    def _buffer(self, like: torch.Tensor) -> torch.Tensor:
        rows, heads, _, width = like.shape
        return like.new_empty(rows, heads, self._length + _ROOM, width)

    def _larger(self, old: torch.Tensor, held: int) -> torch.Tensor:
        new = self._buffer(old)
        new[:, :, :held] = old[:, :, :held]
        return new


class GrowingCache(Cache):
    """A cache of growing layers, for models whose every layer attends to all it is shown.

    Sliding windows are left to the mask: the model cuts them by column.
    """

    def __init__(self, layers: int) -> None:
        """Starts empty."""
        super().__init__(layers=[GrowingLayer() for _ in range(layers)])

    def select(self, rows: torch.Tensor) -> None:
        """Keeps these rows of the batch, in this order; a row may be named more than once."""
        for layer in self.layers:
            layer.select(rows)
