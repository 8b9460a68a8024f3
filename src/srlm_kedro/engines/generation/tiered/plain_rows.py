"""Rows over transformers' own cache: for every model, but each row holds its whole prompt."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, GenerationConfig
from transformers.cache_utils import DynamicLayer
from transformers.generation import GenerationMode

_SPARE_COLUMNS = 16
"""Columns by which a full buffer grows: more would be copied less often, but read less densely."""


class PlainDecoder:
    """Logits of rows that start together; each row holds what its whole prompt left in the cache.

    A pass gets its inputs as transformers' `generate` makes them. They include the cache that the
    layers need (keys and values, windows of them, convolutions, recurrent states) under the name
    that the model gives it.
    """

    def __init__(self, model: Any, cached: bool = True):
        """Holds no rows yet.

        Args:
            model: A causal language model of transformers, in evaluation mode.
            cached: Whether a step computes only the new tokens, or the whole rows again.
        """
        self._model, self._device, self._cached = model, model.device, cached
        self._ids: torch.Tensor | None = None
        self._inputs: dict[str, Any] = {}

    @property
    def vacant(self) -> float:
        """Groups that may join now: any number if there are no rows, else none."""
        return math.inf if self._ids is None else 0

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> torch.Tensor:
        """Logits (sum of copies, vocabulary) after each prompt; there may be no rows yet.

        Prompts are padded on the left, so that the next token of every row is in one column.
        """
        self._ids, mask = _padded_left(prompts, self._device)
        self._inputs = self._first_inputs(mask)
        logits = self._forward(is_first_iteration=True)
        rows = torch.arange(len(prompts)).repeat_interleave(torch.tensor(copies))
        rows = rows.to(self._device)
        self._select(rows)
        return logits[rows]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) after one more token per row."""
        self._ids = torch.cat([self._ids, tokens[:, None]], dim=1)
        return self._forward(next_sequence_length=1 if self._cached else None)

    def drop(self, done: set[int]) -> list[int]:
        """Removes rows; returns which row is now at each place."""
        left = [row for row in range(len(self._ids)) if row not in done]
        if left:
            self._select(torch.tensor(left, device=self._device))
        else:
            self._ids, self._inputs = None, {}
        return left

    def empty_cache(self) -> Cache | None:
        """The cache that the first pass would fill; None if the model makes its own."""
        return next(iter(self._empty_cache(1, 1).values()), None)

    def _empty_cache(self, rows: int, columns: int) -> dict[str, Any]:
        """The cache under the model's name for it; empty if the model makes its own."""
        # The checkpoint's own settings may ask for caches of fixed size, whose rows are fixed too.
        settings, made = GenerationConfig(use_cache=self._cached), {}
        self._model._prepare_cache_for_generation(
            settings, made, GenerationMode.SAMPLE, rows, columns
        )
        for cache in made.values():
            _grow_by_blocks(cache)
        return made

    def _first_inputs(self, mask: torch.Tensor) -> dict[str, Any]:
        """What the first pass gets in addition to the ids; without padding there is no mask."""
        model = self._model
        inputs: dict[str, Any] = {"use_cache": self._cached, "attention_mask": mask}
        known = inspect.signature(model.forward).parameters
        if "position_ids" in known:
            inputs["position_ids"] = model._prepare_position_ids_for_generation(self._ids, inputs)
        if bool(mask.all()):
            inputs["attention_mask"] = None
        if "logits_to_keep" in known:
            inputs["logits_to_keep"] = 1
        return inputs | self._empty_cache(*mask.shape)

    def _forward(self, **how: Any) -> torch.Tensor:
        """Logits after the last column; what the next pass needs is kept."""
        model = self._model
        inputs = model.prepare_inputs_for_generation(self._ids, **how, **self._inputs)
        output = model(**inputs, return_dict=True)
        self._inputs = model._update_model_kwargs_for_generation(output, self._inputs)
        return output.logits[:, -1]

    def _select(self, rows: torch.Tensor) -> None:
        self._ids = self._ids[rows]
        self._inputs = {name: _select(value, rows, name) for name, value in self._inputs.items()}


class GrowingLayer(DynamicLayer):
    """One layer's keys and values in buffers with room: a step writes one column in place.

    The library's layer copies all columns in each step. The results have the same bits, but
    sampling takes 1.2 to 1.5 times as long (measured with 16 to 64 rows on one CPU thread).
    """

    def __init__(self) -> None:
        """Starts empty; the first write makes the buffers."""
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
        return self._view()

    def get_seq_length(self) -> int:
        """Columns held."""
        return self._length

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keeps these rows, in this order; a row may be named more than once."""
        if self.is_initialized:
            self._keys = self._keys.index_select(0, beam_idx)
            self._values = self._values.index_select(0, beam_idx)
            self._view()

    def _view(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = (b[:, :, : self._length] for b in (self._keys, self._values))
        return self.keys, self.values

    def _buffer(self, like: torch.Tensor) -> torch.Tensor:
        rows, heads, _, width = like.shape
        return like.new_empty(rows, heads, self._length + _SPARE_COLUMNS, width)

    def _larger(self, old: torch.Tensor, held: int) -> torch.Tensor:
        new = self._buffer(old)
        new[:, :, :held] = old[:, :, :held]
        return new


def _grow_by_blocks(cache: Any) -> None:
    """Gives buffers with room to the layers of a cache that keep all keys and values."""
    if isinstance(cache, Cache):
        cache.layers = [
            GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
        ]


def _select(held: Any, rows: torch.Tensor, name: str = "") -> Any:
    """The given rows, in this order, of one of the inputs that a model gets in addition to ids.

    Args:
        held: A cache, tensors whose first dimension is rows, or a value that all rows share.
        rows: Places; one may be named more than once.
        name: The model's name for the input.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(held, Cache):
        # A cache with states outside its layers selects their rows in its own method.
        own = type(held).batch_select_indices is not Cache.batch_select_indices
        (held.batch_select_indices if own else held.reorder_cache)(rows)
        return held
    if isinstance(held, torch.Tensor):
        places = name == "position_ids" and held.dim() == 3  # (kinds of position, rows, length)
        return held.index_select(1 if places else 0, rows)
    if isinstance(held, list | tuple):
        return type(held)(_select(one, rows) for one in held)
    if held is None or isinstance(held, bool | int):
        return held
    raise TypeError(f"rows cannot be selected from its {name or 'state'}, a {type(held).__name__}")


def _padded_left(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids, and a mask with ones for the rows' own ids; the padding's ids do not matter."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    held = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, held
