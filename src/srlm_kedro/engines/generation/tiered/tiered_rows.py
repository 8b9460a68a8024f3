"""Rows over shared keys and values: what rows share is computed and held only once."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch

from srlm_kedro.engines.generation.tiered.tiers import Room, Tiers

PREFILL_TOKENS = 1024
"""Tokens of new groups in one pass: enough to fill a processor, few enough for its cache."""


class TieredDecoder:
    """Logits of rows that may join and leave while others are drawn."""

    def __init__(self, model: Any, prefix: Sequence[int], room: Room):
        """Computes the keys and values that all rows share.

        Args:
            model: A causal language model with the attention `attention.NAME`.
            prefix: Tokens with which every prompt begins; it may be empty.
            room: The most that may be held at once.
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
        """Logits (sum of copies, vocabulary) after each prompt; the new rows come last.

        Args:
            prompts: Token ids; each has the shared prefix and at least one more token.
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
        """Logits (rows, vocabulary) after one more token per row."""
        positions = [self._shared + seen for seen in self._tiers.seen]
        self._tiers.step()
        return self._forward(tokens, positions, 0)

    def drop(self, done: set[int]) -> list[int]:
        """Removes rows; returns which row is now at each place."""
        return self._tiers.drop(done)

    def _forward(self, ids: Any, positions: list[int], keep: list[int] | int) -> torch.Tensor:
        """Logits at the places `keep` (0: at all) of tokens that form one line without padding."""
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
    """Slices of prompts that are computed together, so that a padded grid of them stays small."""
    start = widest = 0
    for place, length in enumerate(lengths):
        widest = max(widest, length)
        if place > start and (place - start + 1) * widest > PREFILL_TOKENS:
            yield slice(start, place)
            start, widest = place, length
    yield slice(start, len(lengths))
