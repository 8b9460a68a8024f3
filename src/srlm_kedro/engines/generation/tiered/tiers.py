"""Keys and values in three tiers: what all rows share, what a group shares, and each row's own.

Rows come and go. Each layer's buffers have places for the most that may be there together, and are
copied where tokens get wider or much narrower.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from srlm_kedro.engines.generation.tiered.attention import Part, attend, attend_causally, join
from srlm_kedro.engines.generation.tiered.token_groups import Packing, Seats


@dataclass(frozen=True)
class Room:
    """The most that is held at once."""

    groups: int
    rows: int
    tail: int
    """Tokens that a row draws."""


_SHRINK_AT = 0.9
"""A tier of whose width less is in use is copied into a narrower one."""


class _Tier:
    """Keys and values of one layer in (places, heads, tokens, width) buffers."""

    def __init__(self, places: int, tokens: int, key: torch.Tensor, value: torch.Tensor):
        self.key, self.value = (
            x.new_empty(places, x.shape[-3], tokens, x.shape[-1]) for x in (key, value)
        )

    @property
    def tokens(self) -> int:
        return self.key.shape[2]

    def first(self, places: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.key[:places], self.value[:places]

    def move(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        self.key[targets] = self.key[sources]
        self.value[targets] = self.value[sources]

    def fitted(self, tokens: int) -> "_Tier":
        """Itself, or a copy as wide as is needed: products of parts of a buffer are slow."""
        if _SHRINK_AT * self.tokens < tokens <= self.tokens:
            return self
        other, kept = _Tier(len(self.key), tokens, self.key, self.value), min(tokens, self.tokens)
        for new, old in ((other.key, self.key), (other.value, self.value)):
            new[:, :, :kept] = old[:, :, :kept]
            new[:, :, kept:] = 0  # what a mask hides must still be a number
        return other


class _Layer:
    """The tiers of one layer."""

    shared: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, room: Room, key: torch.Tensor, value: torch.Tensor):
        self.groups = _Tier(room.groups, 0, key, value)
        self.tails = _Tier(room.rows, 0, key, value)


class Tiers:
    """What the layers of a model hold for the rows that are being drawn.

    Each forward pass is one of three: of the tokens that all share, of new groups' own tokens, or
    of one new token a row. All tokens of a pass stand in one line, without padding.
    """

    def __init__(self, room: Room, device: torch.device):
        """Holds nothing yet."""
        self._room, self._device = room, device
        self._layers: dict[int, _Layer] = {}
        self._lengths: list[int] = []
        """Own tokens of each group."""
        self._group: list[int] = []
        """The group of each row."""
        self._ages: list[int] = []
        """Tokens each row has drawn."""
        # Not bound: a reference to itself would keep the buffers until the next collection.
        self._pass: Callable[..., torch.Tensor] = Tiers._share
        self._layout: Packing | Seats | None = None

    @property
    def groups(self) -> int:
        """Groups that are held."""
        return len(self._lengths)

    @property
    def seen(self) -> list[int]:
        """Tokens behind what all share that each row has before its next one."""
        return [
            self._lengths[group] + age for group, age in zip(self._group, self._ages, strict=True)
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
        # (tokens, heads of the keys, queries a key's head, width)
        rows = query.unflatten(0, (len(key), -1)).permute(2, 0, 1, 3)
        return self._pass(self, self._layers[layer], rows, key, value).flatten(1, 2)

    def share(self) -> None:
        """The next pass is of the tokens that all rows share."""
        self._pass = Tiers._share

    def open(self, lengths: Sequence[int], copies: Sequence[int]) -> None:
        """The next pass is of new groups' own tokens, one group behind the other.

        Args:
            lengths: Tokens of each group.
            copies: Rows that go on from each group.
        """
        self._layout = Packing(lengths, self._device)
        first = len(self._lengths)
        self._lengths = [*self._lengths, *lengths]
        self._group += [first + place for place, count in enumerate(copies) for _ in range(count)]
        self._ages += [0] * sum(copies)
        self._pass = Tiers._open

    def step(self) -> None:
        """The next pass is of one token a row."""
        if not isinstance(self._layout, Seats):
            self._layout = Seats(self._group, self._lengths, self._device)
        self._layout.age(self._ages, self._room.tail)
        self._ages = [age + 1 for age in self._ages]
        self._pass = Tiers._step

    def drop(self, done: set[int]) -> list[int]:
        """Takes rows out, and groups without rows; says which row now stands at each place."""
        order, *moves = _closed(len(self._group), done)
        self._move("tails", *moves)
        self._group = [self._group[row] for row in order]
        self._ages = [self._ages[row] for row in order]
        empty = set(range(len(self._lengths))) - set(self._group)
        left, *moves = _closed(len(self._lengths), empty)
        self._move("groups", *moves)
        self._lengths = [self._lengths[group] for group in left]
        place = {group: number for number, group in enumerate(left)}
        self._group = [place[group] for group in self._group]
        self._layout = None
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
        packing = self._layout
        query = packing.spread(rows).permute(0, 2, 3, 1, 4)
        own = [packing.spread(x.transpose(0, 1)).transpose(1, 2) for x in (key, value)]
        layer.groups = layer.groups.fitted(max(self._lengths))
        places = slice(len(self._lengths) - packing.groups, len(self._lengths))
        layer.groups.key[places, :, : packing.width] = own[0]
        layer.groups.value[places, :, : packing.width] = own[1]
        part = attend_causally(query, *own)
        parts = [Part(*(packing.gather(x.permute(0, 3, 1, 2, 4)) for x in part))]
        return join(parts + self._part_of_shared(layer, rows))

    def _step(
        self, layer: _Layer, rows: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        seats = self._layout
        layer.tails = layer.tails.fitted(seats.columns)
        layer.tails.key[seats.rows, :, seats.ages] = key.transpose(0, 1)
        layer.tails.value[seats.rows, :, seats.ages] = value.transpose(0, 1)
        unseen = seats.behind_tails(layer.tails.tokens)
        tails = attend(rows, *layer.tails.first(len(rows)), unseen)
        query = seats.spread(rows).permute(0, 2, 1, 3, 4)
        unseen = seats.behind_groups(layer.groups.tokens)
        groups = attend(query.flatten(2, 3), *layer.groups.first(seats.groups), unseen)
        parts = [
            tails,
            Part(*(seats.gather(x.unflatten(2, query.shape[2:4]).transpose(1, 2)) for x in groups)),
        ]
        return join(parts + self._part_of_shared(layer, rows))

    def _part_of_shared(self, layer: _Layer, rows: torch.Tensor) -> list[Part]:
        if layer.shared is None:
            return []
        query = rows.permute(1, 2, 0, 3)
        part = attend(query.flatten(1, 2), *layer.shared)
        return [Part(*(x.unflatten(1, query.shape[1:3]).permute(2, 0, 1, 3) for x in part))]


def _closed(count: int, gone: set[int]) -> tuple[list[int], list[int], list[int]]:
    """Places after the last ones moved into the gaps; where those came from, and went."""
    left = count - len(gone)
    targets = [place for place in range(left) if place in gone]
    sources = [place for place in range(left, count) if place not in gone]
    order = list(range(left))
    for source, target in zip(sources, targets, strict=True):
        order[target] = source
    return order, sources, targets
