"""What transformers keeps of rows: keys and values in buffers that grow, and any other state."""

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

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keeps these rows, in this order; a row may be named more than once."""
        if self.is_initialized:
            self._keys = self._keys.index_select(0, beam_idx)
            self._values = self._values.index_select(0, beam_idx)
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


def grow_by_blocks(cache: Any) -> None:
    """Gives a cache's layers that keep all keys and values buffers with room; others stay."""
    if isinstance(cache, Cache):
        cache.layers = [
            GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
        ]


def select(held: Any, rows: torch.Tensor, name: str = "") -> Any:
    """The named rows, in this order, of what a model is given beside its ids.

    Args:
        held: A cache, tensors whose first dimension counts rows, or what is the same for all rows.
        rows: Places; one may be named more than once.
        name: What the model calls it.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(held, Cache):
        # A cache with states beside its layers chooses among them in its own method.
        own = type(held).batch_select_indices is not Cache.batch_select_indices
        (held.batch_select_indices if own else held.reorder_cache)(rows)
        return held
    if isinstance(held, torch.Tensor):
        places = name == "position_ids" and held.dim() == 3  # (kinds of position, rows, length)
        return held.index_select(1 if places else 0, rows)
    if isinstance(held, list | tuple):
        return type(held)(select(one, rows) for one in held)
    if held is None or isinstance(held, bool | int):
        return held
    raise TypeError(f"rows cannot be chosen from its {name or 'state'}, a {type(held).__name__}")
