"""Muon: momentum whose matrices are made orthogonal before they move the weights."""

from collections.abc import Iterable
from typing import Any

import torch

_LINEAR, _CUBIC, _QUINTIC = 3.4445, -4.7750, 2.0315
"""Of a Newton-Schulz step; five of them bring every singular value to between 0.7 and 1.2 or so."""
_STEPS = 5
_SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Moves matrices by their orthogonalised momentum, in float32. Source: Jordan et al., 2024.

    The rule and its constants are those of `torch.optim.Muon`, which orthogonalises in bfloat16.
    Deviation: a processor without bfloat16 instructions multiplies such matrices thirteen times
    slower than float32, and one that has them gains nothing that counts at these sizes
    (docs/decisions/0016-float32-on-a-cpu.md).
    """

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95):
        """Takes two-dimensional weights; embeddings and norms want another optimizer.

        Args:
            matrices: The weights, each of shape (rows, columns).
            lr: Rate; a tall matrix moves sqrt(rows / columns) times as far.
            momentum: Share of the momentum that stays at each step; the gradient looks one step
                ahead (Nesterov).
        """
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Moves every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    rows, columns = matrix.shape
                    update = orthogonalised(self._momentum(matrix, group["momentum"]))
                    matrix.add_(update, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)

    def _momentum(self, matrix: torch.nn.Parameter, share: float) -> torch.Tensor:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        held = state["momentum_buffer"].lerp_(matrix.grad, 1 - share)
        return matrix.grad.lerp(held, share)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """(rows, columns): the same singular vectors, all singular values about 1."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=_SMALLEST_NORM)
    for _ in range(_STEPS):
        gram = wide @ wide.T
        change = torch.addmm(gram, gram, gram, beta=_CUBIC, alpha=_QUINTIC)
        wide = torch.addmm(wide, change, wide, beta=_LINEAR)
    return wide.T if tall else wide
