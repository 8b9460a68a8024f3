"""The draw of one token."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from srlm_kedro.engines.generation import sampling
from srlm_kedro.engines.generation.sampling import draw, uniforms


def nucleus(probabilities: list[float], top_p: float) -> dict[int, float]:
    """The definition, token by token: add the most probable ones until the mass is reached."""
    kept: dict[int, float] = {}
    for token in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        kept[token] = probabilities[token]
        if sum(kept.values()) >= top_p:
            break
    return {token: p / sum(kept.values()) for token, p in kept.items()}


def shares(probabilities: list[float], temperature: float, top_p: float) -> np.ndarray:
    """How often each token comes out over an even grid of uniform numbers."""
    count = 20_000
    logits = torch.tensor(probabilities).log().mul(temperature).expand(count, -1)
    tokens = draw(logits, (torch.arange(count) + 0.5) / count, temperature, top_p)
    return np.bincount(tokens.numpy(), minlength=len(probabilities)) / count


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.55, 0.9, 0.999])
@pytest.mark.parametrize("heads", [(), (1,), (2, 4), (32,)])
def test_top_p_is_its_definition(monkeypatch, top_p, heads):
    """Tokens come from the smallest most probable set that reaches top-p, by their probability."""
    monkeypatch.setattr(sampling, "_HEADS", heads)
    probabilities = [0.02, 0.31, 0.07, 0.2, 0.05, 0.24, 0.11]
    expected = nucleus(probabilities, top_p)
    found = shares(probabilities, temperature=0.7, top_p=top_p)
    assert set(np.flatnonzero(found)) == set(expected)
    for token, share in expected.items():
        assert found[token] == pytest.approx(share, abs=2e-4)


def test_the_token_that_crosses_is_in():
    """With masses .5 and .25, top-p .5 keeps one token and anything above keeps two."""
    probabilities = [0.25, 0.5, 0.125, 0.125]
    assert set(np.flatnonzero(shares(probabilities, 1.0, 0.5))) == {1}
    assert set(np.flatnonzero(shares(probabilities, 1.0, 0.51))) == {0, 1}


def test_top_p_one_keeps_every_token():
    """At top-p 1 rare tokens keep their share, and impossible ones never come."""
    found = shares([0.001, 0.0, 0.999], temperature=1.0, top_p=1.0)
    assert found == pytest.approx([0.001, 0.0, 0.999], abs=1e-4)


def test_temperature_zero_takes_the_most_probable_token():
    """Greedy does not look at the random number."""
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, -1.0, 1.0]])
    assert draw(logits, torch.tensor([0.99, 0.99]), 0.0, 0.9).tolist() == [1, 0]


def test_rows_with_wide_and_narrow_nuclei_do_not_mix():
    """A row that needs the full sort gets its own token beside rows that do not."""
    wide, narrow = torch.zeros(100), torch.full((100,), -20.0)
    narrow[7] = 20.0
    tokens = draw(torch.stack([narrow, wide, narrow]), torch.full((3,), 0.95), 1.0, 0.895)
    assert tokens.tolist() == [7, 85, 7]


def test_streams_are_even_and_each_sample_has_its_own():
    """Numbers fill [0, 1) evenly, and streams differ by seed, request and sample."""
    counts, _ = np.histogram(uniforms(0, "p1", 0, 4000), bins=20, range=(0, 1))
    assert chisquare(counts).pvalue > 0.01
    names = [(0, "p1", 0), (1, "p1", 0), (0, "p2", 0), (0, "p1", 1)]
    assert len({uniforms(*name, 1)[0] for name in names}) == len(names)


def test_a_longer_stream_begins_like_a_shorter_one():
    """Raising max_new_tokens does not change how a completion begins."""
    assert uniforms(3, "p", 2, 50)[:10].tolist() == uniforms(3, "p", 2, 10).tolist()
