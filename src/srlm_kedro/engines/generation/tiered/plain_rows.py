"""Rows that draw over what transformers keeps of them: for every model, one full copy a row."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, GenerationConfig
from transformers.generation import GenerationMode

from srlm_kedro.engines.generation.tiered.cache import grow_by_blocks, select


class PlainDecoder:
    """Logits of rows that start together; each holds what its whole prompt left in the cache.

    A pass gets its inputs as `generate` of transformers makes them: the cache that the layers
    need (keys and values, windows of them, convolutions, recurrent states) under the name that
    the model knows it by.
    """

    def __init__(self, model: Any, cached: bool = True):
        """Holds no rows yet.

        Args:
            model: A causal language model of transformers, in evaluation mode.
            cached: Whether a step computes the new tokens alone; otherwise all that stand before
                them once more.
        """
        self._model, self._device, self._cached = model, model.device, cached
        self._ids: torch.Tensor | None = None
        self._inputs: dict[str, Any] = {}

    @property
    def vacant(self) -> float:
        """Groups that may join now: any number where there is none."""
        return math.inf if self._ids is None else 0

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> torch.Tensor:
        """Logits (sum of copies, vocabulary) behind each prompt; no row may be there yet.

        The prompts stand flush right, so that every row's next token falls into the same column.
        """
        self._ids, mask = _flush_right(prompts, self._device)
        self._inputs = self._start(mask)
        logits = self._forward(is_first_iteration=True)
        rows = torch.arange(len(prompts)).repeat_interleave(torch.tensor(copies))
        rows = rows.to(self._device)
        self._select(rows)
        return logits[rows]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) behind one more token a row."""
        self._ids = torch.cat([self._ids, tokens[:, None]], dim=1)
        return self._forward(next_sequence_length=1 if self._cached else None)

    def drop(self, done: set[int]) -> list[int]:
        """Takes rows out; says which row now stands at each place."""
        left = [row for row in range(len(self._ids)) if row not in done]
        if left:
            self._select(torch.tensor(left, device=self._device))
        else:
            self._ids, self._inputs = None, {}
        return left

    def fresh_cache(self) -> Cache | None:
        """What the first pass would fill, empty; None where the model makes it itself."""
        return next(iter(self._fresh_cache(1, 1).values()), None)

    def _fresh_cache(self, rows: int, columns: int) -> dict[str, Any]:
        """An empty cache by the name that the model calls it; empty where it makes its own."""
        # The checkpoint's own settings may ask for caches of fixed size, whose rows are fixed too.
        settings, made = GenerationConfig(use_cache=self._cached), {}
        self._model._prepare_cache_for_generation(
            settings, made, GenerationMode.SAMPLE, rows, columns
        )
        for cache in made.values():
            grow_by_blocks(cache)
        return made

    def _start(self, mask: torch.Tensor) -> dict[str, Any]:
        """What the first pass is given beside the ids; without padding there is no mask."""
        model = self._model
        inputs: dict[str, Any] = {"use_cache": self._cached, "attention_mask": mask}
        known = inspect.signature(model.forward).parameters
        if "position_ids" in known:
            inputs["position_ids"] = model._prepare_position_ids_for_generation(self._ids, inputs)
        if bool(mask.all()):
            inputs["attention_mask"] = None
        if "logits_to_keep" in known:
            inputs["logits_to_keep"] = 1
        return inputs | self._fresh_cache(*mask.shape)

    def _forward(self, **how: Any) -> torch.Tensor:
        """Logits behind the last column; what the next pass needs is kept."""
        model = self._model
        inputs = model.prepare_inputs_for_generation(self._ids, **how, **self._inputs)
        said = model(**inputs, return_dict=True)
        self._inputs = model._update_model_kwargs_for_generation(said, self._inputs)
        return said.logits[:, -1]

    def _select(self, rows: torch.Tensor) -> None:
        self._ids = self._ids[rows]
        self._inputs = {name: select(value, rows, name) for name, value in self._inputs.items()}


def _flush_right(
    rows: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids and a mask of ones where an id stands; the padding's own ids do not matter."""
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    held = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, held
