"""Grids for tokens that form one line: each token belongs to a group, whose keys it sees."""

from collections.abc import Sequence

import torch

_BLOCK = 16
"""Columns by which the rows' tails grow: more are copied less often, but hold unused scores."""


class _Grid:
    """The cells that the tokens of one line have in a grid of (groups, width)."""

    def __init__(self, groups: int, width: int, cells: list[int], device: torch.device):
        self.groups, self.width = groups, width
        full = cells == list(range(groups * width))
        self._cells = None if full else torch.tensor(cells, device=device)

    def spread(self, line: torch.Tensor) -> torch.Tensor:
        """(tokens, ...) into (groups, width, ...), zeros in empty cells."""
        if self._cells is not None:
            grid = line.new_zeros(self.groups * self.width, *line.shape[1:])
            grid[self._cells] = line
            line = grid
        return line.unflatten(0, (self.groups, self.width))

    def gather(self, grid: torch.Tensor) -> torch.Tensor:
        """(groups, width, ...) back into (tokens, ...)."""
        line = grid.flatten(0, 1)
        return line if self._cells is None else line[self._cells]


class PromptGrid(_Grid):
    """The cells of the tokens of new groups' prompts."""

    def __init__(self, lengths: Sequence[int], device: torch.device):
        width = max(lengths)
        cells = [
            group * width + place for group, size in enumerate(lengths) for place in range(size)
        ]
        super().__init__(len(lengths), width, cells, device)


class RowGrid(_Grid):
    """The cells of the rows within their groups, and what each row sees."""

    def __init__(self, group: Sequence[int], lengths: Sequence[int], device: torch.device):
        members = [0] * len(lengths)
        cells = []
        for number in group:
            cells.append((number, members[number]))
            members[number] += 1
        most = max(members, default=0)
        super().__init__(
            len(lengths), most, [number * most + member for number, member in cells], device
        )
        self._device = device
        self.rows = torch.arange(len(group), device=device)
        self._lengths = torch.tensor(lengths, device=device)
        self._group_mask: torch.Tensor | None = None

    def set_drawn(self, drawn: Sequence[int], most: int) -> None:
        """Sets how many tokens each row has drawn before this pass; it draws `most` in the end."""
        self.drawn = torch.tensor(drawn, device=self._device)
        self.columns = min(most, -(-(max(drawn) + 1) // _BLOCK) * _BLOCK)
        self._tail_mask: torch.Tensor | None = None

    def mask_of_groups(self, tokens: int) -> torch.Tensor:
        """Hides what is beyond each group's own tokens, in buffers of so many tokens."""
        if self._group_mask is None:
            self._group_mask = mask_beyond(self._lengths, tokens)
        return self._group_mask

    def mask_of_tails(self, tokens: int) -> torch.Tensor:
        """Hides what is beyond each row's drawn tokens, in buffers of so many tokens."""
        if self._tail_mask is None:
            self._tail_mask = mask_beyond(self.drawn + 1, tokens)
        return self._tail_mask


def mask_beyond(lengths: torch.Tensor, tokens: int) -> torch.Tensor:
    """(lengths, 1, 1, tokens): 0 up to each length, and -inf beyond it."""
    beyond = torch.arange(tokens, device=lengths.device) >= lengths[:, None]
    return torch.where(beyond, -torch.inf, 0.0)[:, None, None]
