"""The draw of a token: exact top-p by inverse CDF, from a random stream of each sample's own."""

import hashlib

import numpy as np
import torch

_HEADS = (32, 1024)
"""Most probable tokens looked at first, and then: few nuclei are larger, and sorting is slow."""


def uniforms(seed: int, request_id: str, sample: int, count: int) -> np.ndarray:
    """The first `count` numbers in [0, 1) of one sample's stream; one is used a token.

    The stream depends on the three names alone, so neither neighbours nor batches can change it.
    """
    name = "\x1f".join([str(seed), str(sample), request_id])
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.Philox(key=key)).random(count)


def draw(
    logits: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """One token id a row of `logits` (rows, vocabulary); `uniform` holds one number a row.

    The nucleus is the smallest set of most probable tokens whose mass reaches `top_p` (the token
    that crosses it is in); among these, tokens are drawn by their probabilities. Temperature 0
    takes the most probable token. Paper: section 3.1 samples with temperature 0.7 and top-p 0.9.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    if top_p >= 1:
        return _invert(probabilities.double().cumsum(-1), uniform)
    tokens = torch.empty_like(uniform, dtype=torch.long)
    rows = torch.arange(len(uniform), device=uniform.device)
    vocabulary = probabilities.shape[-1]
    for head in (*(size for size in _HEADS if size < vocabulary), vocabulary):
        found, reached = _draw_from_head(probabilities[rows], uniform[rows], top_p, head)
        tokens[rows] = found
        rows = rows[~reached]
        if not len(rows):
            break
    return tokens


def _draw_from_head(
    probabilities: torch.Tensor, uniform: torch.Tensor, top_p: float, head: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens drawn from the nucleus, and for each row whether `head` tokens held all of it."""
    ordered, ids = _descending(probabilities, head)
    mass = ordered.double().cumsum(-1)
    size = (mass < top_p).sum(-1, keepdim=True)
    last = size.clamp(max=head - 1)
    nucleus = mass.gather(-1, last)
    place = torch.searchsorted(mass, uniform[:, None].double() * nucleus, right=True)
    return ids.gather(-1, torch.minimum(place, last)).squeeze(-1), size.squeeze(-1) < head


def _descending(probabilities: torch.Tensor, head: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `head` largest probabilities and their ids; the smaller id goes first in a tie."""
    if head < probabilities.shape[-1]:
        return tuple(probabilities.topk(head, dim=-1))
    return torch.sort(probabilities, dim=-1, descending=True, stable=True)


def _invert(cumulated: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    target = uniform[:, None].double() * cumulated[:, -1:]
    place = torch.searchsorted(cumulated, target, right=True)
    return place.clamp(max=cumulated.shape[-1] - 1).squeeze(-1)
