"""Keys and values in three tiers: those of all rows, those of a group, and those of each row.

Rows join and leave. Each layer's buffers have places for the most rows that may be there together.
A buffer is copied if it needs more tokens, or much fewer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from srlm_kedro.engines.generation.tiered.attention import Part, attend, attend_causally, join
from srlm_kedro.engines.generation.tiered.token_grids import PromptGrid, RowGrid
from srlm_kedro.engines.torch_device import give_back_heap


@dataclass(frozen=True)
class Room:
    """The most that is held at once."""

    groups: int
    rows: int
    tail: int
    """Most tokens that a row draws."""


_SHRINK_AT = 0.9
"""A tier is copied into a narrower one if less than this share of its tokens is in use."""
_TRIM_AT = 2**28
"""Bytes of outgrown buffers after which the machine's heap is given back. Wider buffers do not fit
into the holes that they leave, so a process would come to hold several times what is in use."""


class _Tier:
    """Keys and values of one layer in (places, heads, tokens, width) buffers."""

    def __init__(self, places: int, tokens: int, key: torch.Tensor, value: torch.Tensor):
        self.key, self.value = (
            x.new_empty(places, x.shape[-3], tokens, x.shape[-1]) for x in (key, value)
        )

    @property
    def tokens(self) -> int:
        return self.key.shape[2]

    @property
    def bytes(self) -> int:
        return self.key.nbytes + self.value.nbytes

    def first(self, places: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.key[:places], self.value[:places]

    def move(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        self.key[targets] = self.key[sources]
        self.value[targets] = self.value[sources]

    def fitted(self, tokens: int) -> "_Tier":
        """Itself, or a copy with the tokens needed: products with a part of a buffer are slow."""
        if _SHRINK_AT * self.tokens < tokens <= self.tokens:
            return self
        other, kept = _Tier(len(self.key), tokens, self.key, self.value), min(tokens, self.tokens)
        for new, old in ((other.key, self.key), (other.value, self.value)):
            new[:, :, :kept] = old[:, :, :kept]
            new[:, :, kept:] = 0  # what a mask hides must be a number too
        return other


class _Layer:
    """The tiers of one layer."""

    shared: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, room: Room, key: torch.Tensor, value: torch.Tensor):
        self.groups = _Tier(room.groups, 0, key, value)
        self.tails = _Tier(room.rows, 0, key, value)


class Tiers:
    """The keys and values in all layers of a model, for the rows that are being drawn.

    Each forward pass is one of three: of the tokens that all share, of new groups' own tokens, or
    of one new token per row. All tokens of a pass form one line without padding.
    """

    def __init__(self, room: Room, device: torch.device):
        """Holds nothing yet."""
        self._room, self._device = room, device
        self._layers: dict[int, _Layer] = {}
        self._lengths: list[int] = []
        """Tokens of each group's prompt after what all rows share."""
        self._group: list[int] = []
        """The group of each row."""
        self._drawn: list[int] = []
        """Tokens that each row has drawn."""
        # Not a bound method: a reference to itself would keep the buffers until garbage collection.
        self._pass: Callable[..., torch.Tensor] = Tiers._share
        self._grid: PromptGrid | RowGrid | None = None
        self._outgrown = 0
        """Bytes of buffers that were replaced by others since the heap was given back."""

    @property
    def groups(self) -> int:
        """Groups that are held."""
        return len(self._lengths)

    @property
    def seen(self) -> list[int]:
        """Tokens that each row has after what all share, before its next token."""
        return [
            self._lengths[group] + drawn
            for group, drawn in zip(self._group, self._drawn, strict=True)
        ]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """The attention of a pass in one layer; keys and values are kept.

        Args:
            layer: Its number.
            query: (heads, tokens, width), scaled.
            key: (heads of the keys, tokens, width).
            value: Like `key`.

        Returns:
            (tokens, heads, width), in float32.
        """
        if layer not in self._layers:
            self._layers[layer] = _Layer(self._room, key, value)
        # (tokens, heads of the keys, queries per head of the keys, width)
        rows = query.unflatten(0, (len(key), -1)).permute(2, 0, 1, 3)
        return self._pass(self, self._layers[layer], rows, key, value).flatten(1, 2)

    def share(self) -> None:
        """The next pass is of the tokens that all rows share."""
        self._pass = Tiers._share

    def open(self, lengths: Sequence[int], copies: Sequence[int]) -> None:
        """The next pass is of new groups' own tokens, one group after the other.

        Args:
            lengths: Tokens of each group.
            copies: Rows that go on from each group.
        """
        self._grid = PromptGrid(lengths, self._device)
        first = len(self._lengths)
        self._lengths = [*self._lengths, *lengths]
        self._group += [first + place for place, count in enumerate(copies) for _ in range(count)]
        self._drawn += [0] * sum(copies)
        self._pass = Tiers._open

    def step(self) -> None:
        """The next pass is of one token per row."""
        if self._outgrown > _TRIM_AT and self._device.type == "cpu":
            give_back_heap()
            self._outgrown = 0
        if not isinstance(self._grid, RowGrid):
            self._grid = RowGrid(self._group, self._lengths, self._device)
        self._grid.set_drawn(self._drawn, self._room.tail)
        self._drawn = [drawn + 1 for drawn in self._drawn]
        self._pass = Tiers._step

    def drop(self, done: set[int]) -> list[int]:
        """Removes rows, and groups without rows; returns which row is now at each place."""
        order, *moves = _close_gaps(len(self._group), done)
        self._move("tails", *moves)
        self._group = [self._group[row] for row in order]
        self._drawn = [self._drawn[row] for row in order]
        empty = set(range(len(self._lengths))) - set(self._group)
        left, *moves = _close_gaps(len(self._lengths), empty)
        self._move("groups", *moves)
        self._lengths = [self._lengths[group] for group in left]
        place = {group: number for number, group in enumerate(left)}
        self._group = [place[group] for group in self._group]
        self._grid = None
        return order

    def _move(self, tier: str, sources: list[int], targets: list[int]) -> None:
        if sources:
            places = [torch.tensor(numbers, device=self._device) for numbers in (sources, targets)]
            for layer in self._layers.values():
                getattr(layer, tier).move(*places)

    def _share(
        self, layer: _Layer, rows: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        layer.shared = key.contiguous(), value.contiguous()
        part = attend_causally(rows.permute(1, 2, 0, 3)[None], key[None], value[None])
        return join([part])[0].permute(2, 0, 1, 3)

    def _open(
        self, layer: _Layer, rows: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        grid = self._grid
        query = grid.spread(rows).permute(0, 2, 3, 1, 4)
        own = [grid.spread(x.transpose(0, 1)).transpose(1, 2) for x in (key, value)]
        layer.groups = self._fitted(layer.groups, max(self._lengths))
        places = slice(len(self._lengths) - grid.groups, len(self._lengths))
        layer.groups.key[places, :, : grid.width] = own[0]
        layer.groups.value[places, :, : grid.width] = own[1]
        part = attend_causally(query, *own)
        parts = [Part(*(grid.gather(x.permute(0, 3, 1, 2, 4)) for x in part))]
        return join(parts + self._part_of_shared(layer, rows))

    def _step(
        self, layer: _Layer, rows: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        grid = self._grid
        layer.tails = self._fitted(layer.tails, grid.columns)
        layer.tails.key[grid.rows, :, grid.drawn] = key.transpose(0, 1)
        layer.tails.value[grid.rows, :, grid.drawn] = value.transpose(0, 1)
        mask = grid.mask_of_tails(layer.tails.tokens)
        tails = attend(rows, *layer.tails.first(len(rows)), mask)
        query = grid.spread(rows).permute(0, 2, 1, 3, 4)
        mask = grid.mask_of_groups(layer.groups.tokens)
        groups = attend(query.flatten(2, 3), *layer.groups.first(grid.groups), mask)
        parts = [
            tails,
            Part(*(grid.gather(x.unflatten(2, query.shape[2:4]).transpose(1, 2)) for x in groups)),
        ]
        return join(parts + self._part_of_shared(layer, rows))

    def _fitted(self, tier: _Tier, tokens: int) -> _Tier:
        fitted = tier.fitted(tokens)
        self._outgrown += 0 if fitted is tier else tier.bytes
        return fitted

    def _part_of_shared(self, layer: _Layer, rows: torch.Tensor) -> list[Part]:
        if layer.shared is None:
            return []
        query = rows.permute(1, 2, 0, 3)
        part = attend(query.flatten(1, 2), *layer.shared)
        return [Part(*(x.unflatten(1, query.shape[1:3]).permute(2, 0, 1, 3) for x in part))]


def _close_gaps(count: int, gone: set[int]) -> tuple[list[int], list[int], list[int]]:
    """Moves the last places into the gaps.

    Returns:
        The old place at each new place; the places that move; where they move to.
    """
    left = count - len(gone)
    targets = [place for place in range(left) if place in gone]
    sources = [place for place in range(left, count) if place not in gone]
    order = list(range(left))
    for source, target in zip(sources, targets, strict=True):
        order[target] = source
    return order, sources, targets
