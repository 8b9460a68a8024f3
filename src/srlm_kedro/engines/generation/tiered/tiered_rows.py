"""Rows that draw over shared keys and values; what they share is computed and held once."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch

from srlm_kedro.engines.generation.tiered.tiers import Room, Tiers

PREFILL_TOKENS = 1024
"""Tokens of new groups in one pass: enough to fill a processor, few enough for a CPU's cache."""


class TieredDecoder:
    """Logits of rows that may join and leave while others draw."""

    def __init__(self, model: Any, prefix: Sequence[int], room: Room):
        """Computes what all rows share.

        Args:
            model: A causal language model whose attention is that of `attention.NAME`.
            prefix: Tokens with which every prompt begins; may be empty.
            room: What may be held at once.
        """
        self._model, self._device = model, model.device
        self._tiers, self._room = Tiers(room, self._device), room
        self._shared = len(prefix)
        if prefix:
            self._tiers.share()
            self._forward([*prefix], [*range(len(prefix))], [len(prefix) - 1])

    @property
    def vacant(self) -> int:
        """Groups that may join now."""
        return self._room.groups - self._tiers.groups

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> torch.Tensor:
        """Logits (sum of copies, vocabulary) behind each prompt; its rows stand at the end.

        Args:
            prompts: Token ids, the shared prefix included, and each with one more at least.
            copies: Rows that go on from each prompt.
        """
        own = [prompt[self._shared :] for prompt in prompts]
        logits = []
        for part in _parts([len(tokens) for tokens in own]):
            lengths = [len(tokens) for tokens in own[part]]
            self._tiers.open(lengths, copies[part])
            ids = [token for tokens in own[part] for token in tokens]
            positions = [self._shared + place for length in lengths for place in range(length)]
            logits.append(self._forward(ids, positions, [end - 1 for end in accumulate(lengths)]))
        repeats = torch.tensor(copies, device=self._device)
        return torch.cat(logits).repeat_interleave(repeats, dim=0)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) behind one more token a row."""
        positions = [self._shared + seen for seen in self._tiers.seen]
        self._tiers.step()
        return self._forward(tokens, positions, 0)

    def drop(self, done: set[int]) -> list[int]:
        """Takes rows out; says which row now stands at each place."""
        return self._tiers.drop(done)

    def _forward(self, ids: Any, positions: list[int], keep: list[int] | int) -> torch.Tensor:
        """Logits at the places `keep` (0: at all) of tokens that stand in one line."""
        if isinstance(keep, list):
            keep = torch.tensor(keep, device=self._device)
        return self._model(
            input_ids=torch.as_tensor(ids, device=self._device)[None],
            position_ids=torch.tensor(positions, device=self._device)[None],
            use_cache=False,
            logits_to_keep=keep,
            tiers=self._tiers,
        ).logits[0]


def _parts(lengths: Sequence[int]) -> Iterator[slice]:
    """Slices of prompts that are computed together, with what fills up their common width."""
    start = widest = 0
    for place, length in enumerate(lengths):
        widest = max(widest, length)
        if place > start and (place - start + 1) * widest > PREFILL_TOKENS:
            yield slice(start, place)
            start, widest = place, length
    yield slice(start, len(lengths))
