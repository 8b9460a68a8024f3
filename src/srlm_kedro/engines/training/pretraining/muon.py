"""Muon: an optimizer that makes the momentum of a matrix orthogonal before each update."""

from collections.abc import Iterable
from typing import Any

import torch

_LINEAR, _CUBIC, _QUINTIC = 3.4445, -4.7750, 2.0315
"""Coefficients of a Newton-Schulz step. Five steps bring every singular value to about 0.7 to 1.2.
"""
_STEPS = 5
_SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Updates matrices by their orthogonalised momentum, in float32. Source: Jordan et al., 2024.

    The rule and its constants are those of `torch.optim.Muon`, which orthogonalises in bfloat16.
    Deviation: a processor without bfloat16 instructions multiplies bfloat16 matrices thirteen times
    slower than float32 ones. A processor with them gains nothing that matters at these sizes
    (docs/decisions/0016-float32-on-a-cpu.md).
    """

    def __init__(self, matrices: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95):
        """Takes two-dimensional weights. Embeddings and norms need another optimizer.

        Args:
            matrices: The weights, each of shape (rows, columns).
            lr: The learning rate. The update of a tall matrix is sqrt(rows / columns) times larger.
            momentum: The share of the momentum that stays at each step (Nesterov momentum).
        """
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Updates every matrix that has a gradient."""
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
    """A matrix (rows, columns) with the same singular vectors and all singular values about 1."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / wide.norm().clamp(min=_SMALLEST_NORM)
    for _ in range(_STEPS):
        gram = wide @ wide.T
        change = torch.addmm(gram, gram, gram, beta=_CUBIC, alpha=_QUINTIC)
        wide = torch.addmm(wide, change, wide, beta=_LINEAR)
    return wide.T if tall else wide
