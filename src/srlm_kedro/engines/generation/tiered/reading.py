"""Log-probabilities of named tokens after many prompts, in batches that fit into memory.

Each prompt goes through the model once, and nothing is sampled.
"""

import logging
from collections.abc import Iterator, Sequence

import torch

from srlm_kedro.engines.generation.loading import Loaded
from srlm_kedro.engines.generation.tiered.plain_rows import PlainDecoder
from srlm_kedro.engines.generation.tiered.planning import (
    Costs,
    Work,
    memory_budget,
    plain_rows,
    tree_bytes,
    uncached_rows,
)
from srlm_kedro.engines.generation.tiered.prefix_tree import tree_levels
from srlm_kedro.engines.generation.tiered.strategies import Strategy
from srlm_kedro.engines.generation.tiered.tiered_rows import PREFILL_TOKENS
from srlm_kedro.engines.generation.tiered.tree_rows import logits_after
from srlm_kedro.engines.torch_device import free_unused_memory, is_out_of_memory

_OF_LOGITS = 0.125
"""Share of the memory that the logits of one pass may take."""
_Prompt = tuple[int, ...]
_log = logging.getLogger(__name__)


class Reading:
    """What one model says after each prompt of one call."""

    def __init__(
        self,
        loaded: Loaded,
        strategy: Strategy,
        prompts: Sequence[Sequence[int]],
        tokens: Sequence[Sequence[int]],
        max_rows: int,
        memory_gib: float | None,
    ):
        """Finds out which prompts are equal, and what memory is left.

        Args:
            loaded: The model.
            strategy: How its rows are computed.
            prompts: Token ids of each request.
            tokens: Tokens of each choice.
            max_rows: Most prompts at once.
            memory_gib: See `memory_budget`.
        """
        self._model, self._strategy, self._max_rows = loaded.model, strategy, max_rows
        self._tokens = [torch.tensor(ids, device=self._model.device) for ids in tokens]
        self._places: dict[_Prompt, list[int]] = {}
        for place, prompt in enumerate(prompts):
            self._places.setdefault(tuple(prompt), []).append(place)
        self._costs = Costs.of(self._model)
        self._budget = memory_budget(memory_gib, self._model.device)

    def rows(self) -> Iterator[tuple[int, list[float]]]:
        """The place of each prompt, and the log-probability of each choice after it.

        If a device refuses memory, what is left is read in smaller batches.

        Raises:
            torch.OutOfMemoryError: A single prompt does not fit.
        """
        left, done = self._ordered(), set()
        while left:
            batch = self._batch(left)
            try:
                for prompt, values in self._read(batch):
                    done.add(prompt)
                    yield from ((place, values) for place in self._places[prompt])
            except RuntimeError as error:
                if not is_out_of_memory(error) or len(batch) == 1:
                    raise
                self._max_rows = len(batch) // 2
            left = [prompt for prompt in left if prompt not in done]
            # Not inside the handler: its error still refers to the memory of the failed pass.
            if left and batch[-1] not in done:
                free_unused_memory(self._model.device.type == "cuda")
                _log.warning(
                    "Out of memory: %d prompts are left and are read by %d at once. "
                    "A lower memory_gib or max_rows avoids it.",
                    *(len(left), self._max_rows),
                )

    def _ordered(self) -> list[_Prompt]:
        """Distinct prompts: neighbours share the most, or are as long as each other."""
        if self._strategy is Strategy.TIERED:
            return sorted(self._places)
        return sorted(self._places, key=lambda prompt: (-len(prompt), prompt))

    def _batch(self, left: Sequence[_Prompt]) -> Sequence[_Prompt]:
        """The first prompts that fit; at least one."""
        batch = left[: self._max_rows]
        if self._strategy is Strategy.TIERED:
            while len(batch) > 1 and tree_bytes(self._costs, tree_levels(batch)) > self._budget:
                batch = batch[: len(batch) // 2]
            return batch
        longest = len(left[0])
        if self._strategy is not Strategy.PADDED:
            batch = [prompt for prompt in batch if len(prompt) == longest]
        fitting = uncached_rows if self._strategy is Strategy.UNCACHED else plain_rows
        work = Work(shared=0, own=longest, samples=1, new=1)
        rows = min(fitting(self._budget, self._costs, work), PREFILL_TOKENS // longest)
        return batch[: max(1, rows)]

    @torch.inference_mode()
    def _read(self, batch: Sequence[_Prompt]) -> Iterator[tuple[_Prompt, list[float]]]:
        if self._strategy is Strategy.TIERED:
            leaves = max(1, int(_OF_LOGITS * self._budget / self._costs.draw))
            for places, logits in logits_after(self._model, batch, leaves):
                yield from zip(
                    (batch[place] for place in places), self._values(logits), strict=True
                )
            return
        decoder = PlainDecoder(self._model, self._strategy is not Strategy.UNCACHED)
        logits = decoder.admit(batch, [1] * len(batch))
        yield from zip(batch, self._values(logits), strict=True)

    def _values(self, logits: torch.Tensor) -> list[list[float]]:
        """(rows, choices): the logarithm of the share of each choice's tokens."""
        logits = logits.float()
        chosen = [logits[:, ids].double().logsumexp(-1) for ids in self._tokens]
        return (torch.stack(chosen, dim=-1) - logits.logsumexp(-1, keepdim=True)).tolist()
