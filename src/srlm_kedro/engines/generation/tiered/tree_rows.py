"""Logits after prompts that share prefixes: each token of their tree goes through the model once.

A level of the tree is computed after the levels above it. Its tokens form lines without padding,
and see the keys and values of their own node and of the nodes that these go on from.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch

from srlm_kedro.engines.generation.tiered.attention import Part, attend, attend_causally, join
from srlm_kedro.engines.generation.tiered.prefix_tree import Node, passes, tree_levels
from srlm_kedro.engines.generation.tiered.token_grids import PromptGrid, mask_beyond


def logits_after(
    model: Any, prompts: Sequence[Sequence[int]], leaves: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Places of prompts, and their logits (places, vocabulary), as they are computed.

    Args:
        model: A causal language model with the attention `attention.NAME`.
        prompts: Token ids, sorted and distinct.
        leaves: Most prompts whose logits are made at once.
    """
    levels = tree_levels(prompts)
    kept = _Kept()
    for nodes in levels:
        kept.add_level([node for node in nodes if not node.leaf])
        for part in passes(nodes, leaves):
            kept.begin(part, model.device)
            logits = _forward(model, prompts, part, kept)
            if ended := [node.prompt for node in part if node.leaf]:
                yield ended, logits


def _forward(
    model: Any, prompts: Sequence[Sequence[int]], part: Sequence[Node], kept: "_Kept"
) -> torch.Tensor:
    """Logits after each leaf; after the last token if there is no leaf, as models make some."""
    ids = [token for node in part for token in prompts[node.prompt][node.start : node.stop]]
    positions = [place for node in part for place in range(node.start, node.stop)]
    stops = accumulate(node.tokens for node in part)
    ends = [stop - 1 for stop, node in zip(stops, part, strict=True) if node.leaf]
    return model(
        input_ids=torch.tensor([ids], device=model.device),
        position_ids=torch.tensor([positions], device=model.device),
        use_cache=False,
        logits_to_keep=torch.tensor(ends or [len(ids) - 1], device=model.device),
        tiers=kept,
    ).logits[0]


class _Kept:
    """The keys and values of inner nodes, in all layers of the model.

    A model's attention calls `attend`, see `attention._tiered_attention`.
    """

    def __init__(self) -> None:
        self._levels: list[_Level] = []

    def add_level(self, inner: Sequence[Node]) -> None:
        """Makes place for the inner nodes of the next level."""
        self._levels.append(_Level([node.tokens for node in inner]))

    def begin(self, part: Sequence[Node], device: torch.device) -> None:
        """The next pass is of these nodes of the last level; passes are in the nodes' order."""
        self._grid = PromptGrid([node.tokens for node in part], device)
        inner = [place for place, node in enumerate(part) if not node.leaf]
        self._levels[-1].expect(torch.tensor(inner, device=device))
        self._above = [
            _Above(level, [node.above[depth] for node in part], device)
            for depth, level in enumerate(self._levels[:-1])
        ]

    def attend(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> torch.Tensor:
        """The attention of a pass in one layer; the keys and values of inner nodes are kept.

        Args:
            layer: Its number.
            query: (heads, tokens, width), scaled.
            key: (heads of the keys, tokens, width).
            value: Like `key`.

        Returns:
            (tokens, heads, width), in float32.
        """
        grid = self._grid
        # (tokens, heads of the keys, queries per head of the keys, width)
        rows = query.unflatten(0, (len(key), -1)).permute(2, 0, 1, 3)
        # (nodes, heads of the keys, queries per head of the keys, places, width)
        queries = grid.spread(rows).permute(0, 2, 3, 1, 4)
        own = [grid.spread(x.transpose(0, 1)).transpose(1, 2) for x in (key, value)]
        self._levels[-1].keep(layer, *own)
        parts = [_line(grid, attend_causally(queries, *own))]
        parts += [above.attend(layer, grid, rows, queries) for above in self._above]
        return join(parts).flatten(1, 2)


class _Level:
    """Keys and values of one level's inner nodes, in (nodes, heads, tokens, width) buffers."""

    def __init__(self, lengths: Sequence[int]):
        self.lengths = lengths
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._expected: torch.Tensor = torch.empty(0)
        self._first = self._next = 0

    def expect(self, inner: torch.Tensor) -> None:
        """Places, among the nodes of the next pass, of those that are kept."""
        self._expected = inner
        self._first, self._next = self._next, self._next + len(inner)

    def keep(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keeps the expected nodes of a pass's grid (nodes, heads, places, width)."""
        if not len(self._expected):
            return
        if layer not in self._layers:
            # What a mask hides must be a number too, so the buffers hold zeros.
            self._layers[layer] = tuple(
                x.new_zeros(len(self.lengths), x.shape[1], max(self.lengths), x.shape[3])
                for x in (key, value)
            )  # type: ignore[assignment]
        for held, new in zip(self._layers[layer], (key, value), strict=True):
            places = min(held.shape[2], new.shape[2])
            held[self._first : self._next, :, :places] = new[self._expected, :, :places]

    def of(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all nodes in one layer."""
        return self._layers[layer]


class _Above:
    """The nodes of a higher level that a pass goes on from."""

    def __init__(self, level: _Level, places: Sequence[int], device: torch.device):
        self._level = level
        # Most often all nodes of a pass have the same root: nothing is copied for it.
        self._one = places[0] if len(set(places)) == 1 else None
        lengths = [level.lengths[place] for place in places]
        self._width = max(lengths)
        self._places = torch.tensor(places, device=device)
        self._mask = mask_beyond(torch.tensor(lengths, device=device), self._width)

    def attend(
        self, layer: int, grid: PromptGrid, rows: torch.Tensor, queries: torch.Tensor
    ) -> Part:
        """The `Part` of a pass's tokens over these nodes (tokens, heads of the keys, ...)."""
        key, value = (x[:, :, : self._width] for x in self._level.of(layer))
        if self._one is not None:
            line = rows.permute(1, 2, 0, 3)
            part = attend(line.flatten(1, 2), key[self._one], value[self._one])
            return Part(*(x.unflatten(1, line.shape[1:3]).permute(2, 0, 1, 3) for x in part))
        held = key[self._places], value[self._places]
        part = attend(queries.flatten(2, 3), *held, self._mask)
        return _line(grid, Part(*(x.unflatten(2, queries.shape[2:4]) for x in part)))


def _line(grid: PromptGrid, part: Part) -> Part:
    """(nodes, heads, queries per head, places, ...) as (tokens, heads, queries per head, ...)."""
    return Part(*(grid.gather(x.permute(0, 3, 1, 2, 4)) for x in part))
