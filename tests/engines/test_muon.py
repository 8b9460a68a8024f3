"""Muon updates matrices by orthogonalised momentum, in float32."""

import pytest
import torch

from srlm_kedro.engines.training.pretraining.muon import Muon, orthogonalised

SHAPES = [(8, 8), (24, 8), (8, 24)]


def matrices() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def moved(optimizer_of, steps: int) -> list[torch.Tensor]:
    """The matrices after some steps with the same gradients."""
    weights = matrices()
    optimizer = optimizer_of(weights)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return [weight.detach() for weight in weights]


def test_it_is_torchs_rule_without_the_rounding():
    """Five steps differ from those of `torch.optim.Muon` only by bfloat16's rounding."""
    ours = moved(lambda weights: Muon(weights, lr=0.1), steps=5)
    theirs = moved(lambda weights: torch.optim.Muon(weights, lr=0.1, weight_decay=0.0), steps=5)
    for one, other, start in zip(ours, theirs, matrices(), strict=True):
        assert (one - other).norm() < 0.02 * (other - start).norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_all_singular_values_come_near_one(shape):
    """The scale of the matrix does not matter."""
    for scale in (1e-4, 1, 1e4):
        made = orthogonalised(
            scale * torch.randn(shape, generator=torch.Generator().manual_seed(2))
        )
        values = torch.linalg.svdvals(made)
        assert made.shape == shape
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_nothing_is_rounded_to_bfloat16(monkeypatch):
    """A processor without bfloat16 instructions would be many times slower."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: pytest.fail("rounded"))
    products = []
    matmul = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor, "__matmul__", lambda a, b: products.append(a.dtype) or matmul(a, b)
    )
    moved(lambda weights: Muon(weights, lr=0.1), steps=1)
    assert products
    assert set(products) == {torch.float32}


def test_a_matrix_without_a_gradient_stays():
    """It was not part of the loss."""
    first, second, _ = weights = matrices()
    before = second.detach().clone()
    first.grad = torch.ones_like(first)
    Muon(weights, lr=0.1).step()
    assert torch.equal(second, before)
    assert not torch.equal(first, matrices()[0])


def test_its_state_can_be_kept_and_taken_up():
    """The state is only the momentum. The next step has the same bits."""
    whole, half = matrices(), matrices()
    first, second = Muon(whole, lr=0.1), Muon(half, lr=0.1)
    gradients = [torch.randn(shape, generator=torch.Generator().manual_seed(3)) for shape in SHAPES]

    def step(weights, optimizer):
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()

    step(whole, first)
    step(half, second)
    again = Muon(half, lr=0.1)
    again.load_state_dict(second.state_dict())
    step(whole, first)
    step(half, again)
    assert all(torch.equal(one, other) for one, other in zip(whole, half, strict=True))
