"""Where tokens that stand in one line belong: in groups, each of which sees its own keys."""

from collections.abc import Sequence

import torch

_BLOCK = 16
"""Columns by which the rows' tails grow: more are copied less often, but looked at in vain."""


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


class Packing(_Grid):
    """Where the tokens of new groups stand."""

    def __init__(self, lengths: Sequence[int], device: torch.device):
        width = max(lengths)
        cells = [
            group * width + place for group, size in enumerate(lengths) for place in range(size)
        ]
        super().__init__(len(lengths), width, cells, device)


class Seats(_Grid):
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
        self._lengths = torch.tensor(lengths, device=device)
        self._short: torch.Tensor | None = None

    def age(self, ages: Sequence[int], most: int) -> None:
        """Notes how many tokens each row has drawn before this pass, of `most` in the end."""
        self.ages = torch.tensor(ages, device=self._device)
        self.columns = min(most, -(-(max(ages) + 1) // _BLOCK) * _BLOCK)
        self._young: torch.Tensor | None = None

    def behind_groups(self, tokens: int) -> torch.Tensor:
        """Hides what lies behind the own tokens of each group, in buffers of so many."""
        if self._short is None:
            self._short = _hiding(self._lengths, tokens)
        return self._short

    def behind_tails(self, tokens: int) -> torch.Tensor:
        """Hides what lies behind the drawn tokens of each row, in buffers of so many."""
        if self._young is None:
            self._young = _hiding(self.ages + 1, tokens)
        return self._young


def _hiding(lengths: torch.Tensor, tokens: int) -> torch.Tensor:
    """(lengths, 1, 1, tokens): -inf behind each length."""
    behind = torch.arange(tokens, device=lengths.device) >= lengths[:, None]
    return torch.where(behind, -torch.inf, 0.0)[:, None, None]
