"""Sampling of one token."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from srlm_kedro.engines.generation.tiered import sampling
from srlm_kedro.engines.generation.tiered.sampling import draw, stream, uniforms


def nucleus(probabilities: torch.Tensor, top_p: float) -> dict[int, float]:
    """The definition, token by token: add the most probable ones until the mass is reached."""
    kept: dict[int, float] = {}
    for token in probabilities.argsort(descending=True, stable=True).tolist():
        if sum(kept.values()) >= top_p:
            break
        kept[token] = float(probabilities[token])
    return {token: p / sum(kept.values()) for token, p in kept.items()}


def drawn(logits: torch.Tensor, temperature: float, top_p: float, count: int) -> list[int]:
    """Tokens of `count` samples, each with its own random stream."""
    keys = torch.tensor([stream(0, "p", sample) for sample in range(count)])
    steps = torch.zeros(count, dtype=torch.long)
    return draw(logits.expand(count, -1), keys, steps, temperature, top_p).tolist()


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.55, 0.9, 0.999])
@pytest.mark.parametrize("size", [7, 64, 301])
def test_top_p_is_its_definition(top_p, size):
    """Tokens come from the smallest most probable set that reaches top-p, by their probability."""
    logits = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 2
    expected = nucleus(torch.softmax(logits.double() / 0.7, -1), top_p)
    tokens = Counter(drawn(logits, 0.7, top_p, 20_000))
    assert set(tokens) <= set(expected)
    common = [token for token, share in expected.items() if share * 20_000 >= 5]
    if len(common) == 1:
        assert tokens[common[0]] == 20_000
        return
    seen, mass = sum(tokens[t] for t in common), sum(expected[t] for t in common)
    counts = [tokens[token] for token in common]
    assert chisquare(counts, [expected[t] / mass * seen for t in common]).pvalue > 0.001


def test_the_token_that_crosses_is_in():
    """With masses .5 and .25, top-p .5 keeps one token and anything above keeps two."""
    logits = torch.tensor([0.25, 0.5, 0.125, 0.125]).log()
    assert set(drawn(logits, 1.0, 0.5, 500)) == {1}
    assert set(drawn(logits, 1.0, 0.51, 500)) == {0, 1}


def test_equals_go_together():
    """Equally probable tokens are all in the nucleus, or all outside."""
    logits = torch.tensor([0.4, 0.2, 0.2, 0.2]).log()
    assert set(drawn(logits, 1.0, 0.3, 500)) == {0}
    assert set(drawn(logits, 1.0, 0.5, 500)) == {0, 1, 2, 3}


def test_top_p_one_keeps_every_token():
    """At top-p 1 rare tokens keep their share, and impossible ones never come."""
    tokens = Counter(drawn(torch.tensor([0.01, 0.0, 0.99]).log(), 1.0, 1.0, 20_000))
    assert tokens[1] == 0
    assert chisquare([tokens[0], tokens[2]], [200, 19_800]).pvalue > 0.001


def test_temperature_zero_takes_the_most_probable_token():
    """Greedy sampling does not use the random numbers."""
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, -1.0, 1.0]])
    keys, steps = torch.tensor([5, 6]), torch.tensor([0, 9])
    assert draw(logits, keys, steps, 0.0, 0.9).tolist() == [1, 0]


def test_a_row_does_not_depend_on_its_neighbours(monkeypatch):
    """A row gets the same token alone, next to other rows, and in parts of a batch."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(60, 100, generator=generator) * torch.linspace(0, 8, 60)[:, None]
    keys = torch.tensor([stream(3, str(row), 0) for row in range(60)])
    steps = torch.arange(60)
    together = draw(logits, keys, steps, 0.7, 0.5)
    monkeypatch.setattr(sampling, "_CPU_LOGITS", 700)
    assert draw(logits, keys, steps, 0.7, 0.5).tolist() == together.tolist()
    rows = zip(logits, keys, steps, strict=True)
    alone = [int(draw(a[None], b[None], c[None], 0.7, 0.5)) for a, b, c in rows]
    assert alone == together.tolist()


def test_streams_are_even_and_each_sample_has_its_own():
    """Numbers fill [0, 1) evenly, and streams differ by seed, request, sample, step and attempt."""
    key = torch.tensor([stream(0, "p1", 0)])
    numbers = uniforms(key.expand(100_000), torch.arange(100_000))
    counts, _ = np.histogram(numbers.numpy(), bins=20, range=(0, 1))
    assert chisquare(counts).pvalue > 0.001
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.01
    names = [(0, "p1", 0), (1, "p1", 0), (0, "p2", 0), (0, "p1", 1)]
    firsts = uniforms(torch.tensor([stream(*name) for name in names]), torch.zeros(4).long())
    again = uniforms(key, torch.tensor([0]), attempt=1)
    assert len({*firsts.tolist(), *again.tolist(), float(numbers[1])}) == 6


def test_numbers_are_those_of_splitmix64():
    """The first output of SplitMix64 for state 0, of which the stream takes 53 bits."""
    first = uniforms(torch.tensor([0]), torch.tensor([0]))
    assert float(first) == (0xE220A8397B1DCDAF >> 11) / 2**53
