"""Keys and values in three tiers: what all rows share, what a group shares, and each row's own.

Rows come and go; each layer's buffers are made once, for the most that may be there together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from srlm_kedro.engines.generation.attention import Part, attend, attend_causally, join


@dataclass(frozen=True)
class Room:
    """The most that is held at once."""

    groups: int
    rows: int
    tail: int
    """Tokens that a row draws."""


_SHRINK_AT = 0.9
"""Share of a tier's width in use from which on it is copied into a narrower one."""


class _Tier:
    """Keys and values of one layer in (places, heads, tokens, width) buffers."""

    def __init__(self, places: int, tokens: int, like: torch.Tensor):
        heads, _, width = like.shape
        # Zeros, for what a mask hides must still be a number.
        self.key = like.new_zeros(places, heads, tokens, width)
        self.value = torch.zeros_like(self.key)

    @property
    def tokens(self) -> int:
        return self.key.shape[2]

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        self.key[targets] = self.key[sources]
        self.value[targets] = self.value[sources]

    def fitted(self, tokens: int, like: torch.Tensor) -> "_Tier":
        """Itself, or a copy as wide as is needed: products of whole buffers are faster."""
        if _SHRINK_AT * self.tokens < tokens <= self.tokens:
            return self
        other, kept = _Tier(len(self.key), tokens, like), min(tokens, self.tokens)
        other.key[:, :, :kept] = self.key[:, :, :kept]
        other.value[:, :, :kept] = self.value[:, :, :kept]
        return other


class _Layer:
    """The tiers of one layer."""

    shared: tuple[torch.Tensor, torch.Tensor] | None = None

    def __init__(self, room: Room, like: torch.Tensor):
        self.groups = _Tier(room.groups, 0, like)
        self.tails = _Tier(room.rows, room.tail, like)


class Tiers:
    """What the layers of a model hold for the rows that are being drawn.

    Each forward pass is one of three: of the tokens that all share, of new groups' own tokens, or
    of one new token a row. All tokens of a pass stand in one line, without padding.
    """

    def __init__(self, room: Room, device: torch.device):
        """Holds nothing yet; buffers are made by the first pass."""
        self._room, self._device = room, device
        self._layers: dict[int, _Layer] = {}
        self._lengths: list[int] = []
        """Own tokens of each group."""
        self._group: list[int] = []
        """The group of each row."""
        self._ages: list[int] = []
        """Tokens each row has drawn."""
        self._pass: Callable[..., torch.Tensor] = self._share
        self._layout: Any = None

    @property
    def groups(self) -> int:
        """Groups that are held."""
        return len(self._lengths)

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
            self._layers[layer] = _Layer(self._room, key)
        # (tokens, heads of the keys, queries a key's head, width)
        rows = query.unflatten(0, (len(key), -1)).permute(2, 0, 1, 3)
        return self._pass(self._layers[layer], rows, key, value).flatten(1, 2)

    def share(self) -> None:
        """The next pass is of the tokens that all rows share."""
        self._pass = self._share

    def open(self, lengths: Sequence[int], copies: Sequence[int]) -> None:
        """The next pass is of new groups' own tokens, one group behind the other.

        Args:
            lengths: Tokens of each group.
            copies: Rows that go on from each group.
        """
        self._layout = _Packing(lengths, self._device)
        first = len(self._lengths)
        self._lengths = [*self._lengths, *lengths]
        self._group += [first + place for place, count in enumerate(copies) for _ in range(count)]
        self._ages += [0] * sum(copies)
        self._pass = self._open

    def step(self) -> None:
        """The next pass is of one token a row."""
        if self._pass != self._step:
            self._layout = _Seats(self._group, self._lengths, self._device)
        self._layout.age(self._ages)
        self._ages = [age + 1 for age in self._ages]
        self._pass = self._step

    def drop(self, done: set[int]) -> list[int]:
        """Takes rows out, and groups without rows; says which row now stands at each place."""
        order, sources, targets = _closed(len(self._group), done)
        for layer in self._layers.values():
            layer.tails.move(sources, targets)
        self._group = [self._group[row] for row in order]
        self._ages = [self._ages[row] for row in order]
        left, sources, targets = _closed(
            len(self._lengths), set(range(len(self._lengths))) - set(self._group)
        )
        for layer in self._layers.values():
            layer.groups.move(sources, targets)
        self._lengths = [self._lengths[group] for group in left]
        place = {group: number for number, group in enumerate(left)}
        self._group = [place[group] for group in self._group]
        self._layout = _Seats(self._group, self._lengths, self._device)
        return order

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
        layer.groups = layer.groups.fitted(max(self._lengths), key)
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
        layer.tails.key[seats.rows, :, seats.ages] = key.transpose(0, 1)
        layer.tails.value[seats.rows, :, seats.ages] = value.transpose(0, 1)
        drawn = (x[: len(rows), :, : seats.longest] for x in (layer.tails.key, layer.tails.value))
        tails = attend(rows, *drawn, seats.young)
        query = seats.spread(rows).permute(0, 2, 1, 3, 4)
        held = (x[: seats.groups] for x in (layer.groups.key, layer.groups.value))
        groups = attend(query.flatten(2, 3), *held, seats.hiding(layer.groups.tokens))
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


class _Grid:
    """Tokens in one line, and their cells in a grid of (groups, width)."""

    def __init__(self, groups: int, width: int, cells: list[int], device: torch.device):
        self.groups, self.width = groups, width
        full = cells == list(range(groups * width))
        self._cells = None if full else torch.tensor(cells, device=device)

    def spread(self, line: torch.Tensor) -> torch.Tensor:
        """(tokens, ...) into (groups, width, ...), zeros where no token stands."""
        if self._cells is not None:
            grid = line.new_zeros(self.groups * self.width, *line.shape[1:])
            grid[self._cells] = line
            line = grid
        return line.unflatten(0, (self.groups, self.width))

    def gather(self, grid: torch.Tensor) -> torch.Tensor:
        """(groups, width, ...) back into (tokens, ...)."""
        line = grid.flatten(0, 1)
        return line if self._cells is None else line[self._cells]


class _Packing(_Grid):
    """Where the tokens of new groups stand."""

    def __init__(self, lengths: Sequence[int], device: torch.device):
        width = max(lengths)
        cells = [
            group * width + place for group, size in enumerate(lengths) for place in range(size)
        ]
        super().__init__(len(lengths), width, cells, device)


class _Seats(_Grid):
    """Where the rows of the groups stand, and what each of them sees."""

    def __init__(self, group: Sequence[int], lengths: Sequence[int], device: torch.device):
        members = [0] * len(lengths)
        seats = []
        for number in group:
            seats.append((number, members[number]))
            members[number] += 1
        most = max(members, default=0)
        super().__init__(
            len(lengths), most, [number * most + seat for number, seat in seats], device
        )
        self._device = device
        self.rows = torch.arange(len(group), device=device)
        self._lengths = lengths
        self._short: torch.Tensor | None = None

    def age(self, ages: Sequence[int]) -> None:
        """Notes how many tokens each row has drawn before this pass."""
        self.ages = torch.tensor(ages, device=self._device)
        self.longest = max(ages) + 1
        self.young = _hiding([age + 1 for age in ages], self.longest, self._device)

    def hiding(self, tokens: int) -> torch.Tensor:
        """Hides what lies behind the own tokens of each group, in buffers of so many."""
        if self._short is None:
            self._short = _hiding(self._lengths, tokens, self._device)
        return self._short


def _hiding(lengths: Sequence[int], tokens: int, device: torch.device) -> torch.Tensor:
    """(lengths, 1, 1, tokens): -inf behind each length."""
    places = torch.arange(tokens, device=device)
    behind = places >= torch.tensor(lengths, device=device)[:, None]
    return torch.where(behind, -torch.inf, 0.0)[:, None, None]


def _closed(count: int, gone: set[int]) -> tuple[list[int], list[int], list[int]]:
    """Places after the last ones moved into the gaps; where those came from, and went."""
    left = count - len(gone)
    targets = [place for place in range(left) if place in gone]
    sources = [place for place in range(left, count) if place not in gone]
    order = list(range(left))
    for source, target in zip(sources, targets, strict=True):
        order[target] = source
    return order, sources, targets
