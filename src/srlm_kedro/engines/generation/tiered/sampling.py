"""The draw of a token: exact top-p without a sort, from a random stream of each sample's own."""

import hashlib
import math

import torch

_GAMMA, _FIRST, _SECOND = (
    constant - 2**64 for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)

_TOGETHER = {"cpu": 2**20}
"""Logits that are looked at together: on a CPU what its cache holds is many times faster."""


def stream(seed: int, request_id: str, sample: int) -> int:
    """The key of one sample's random numbers (64 bits, signed).

    It depends on the three names alone, so neither neighbours nor batches can change a sample.
    """
    name = "\x1f".join([str(seed), str(sample), request_id])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def uniforms(keys: torch.Tensor, steps: torch.Tensor, attempt: int = 0) -> torch.Tensor:
    """One number in [0, 1) a row, in float64: that of `attempt` at the row's token `steps`.

    A counter through the finaliser of SplitMix64 (Steele, Lea, Flood 2014): no state is kept.
    """
    mixed = keys + (steps + (attempt << 32) + 1) * _GAMMA
    mixed = (mixed ^ _shifted(mixed, 30)) * _FIRST
    mixed = (mixed ^ _shifted(mixed, 27)) * _SECOND
    return _shifted(mixed ^ _shifted(mixed, 31), 11).double() * 2.0**-53


def draw(
    logits: torch.Tensor,
    keys: torch.Tensor,
    steps: torch.Tensor,
    temperature: float,
    top_p: float,
) -> torch.Tensor:
    """One token id a row of `logits` (rows, vocabulary).

    A token is in the nucleus when the tokens more probable than it have less than `top_p` of the
    mass; so the one that crosses is in, and equals go together. Each row draws from all tokens,
    and again from those above a token that proved outside: the accepted token is distributed as
    within the nucleus, which is never sorted out. Temperature 0 takes the most probable token.
    Paper: section 3.1 samples with temperature 0.7 and top-p 0.9.

    Args:
        logits: Any floating dtype.
        keys: (rows,) of `stream`.
        steps: (rows,) how many tokens each row has drawn.
        temperature: Divides the logits.
        top_p: Mass of the nucleus; 1 keeps every token.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    rows = max(1, _TOGETHER.get(logits.device.type, 2**26) // logits.shape[-1])
    parts = zip(logits.split(rows), keys.split(rows), steps.split(rows), strict=True)
    return torch.cat([_draw(*part, temperature, top_p) for part in parts])


def _draw(
    logits: torch.Tensor,
    keys: torch.Tensor,
    steps: torch.Tensor,
    temperature: float,
    top_p: float,
) -> torch.Tensor:
    weights = torch.softmax(logits.float() / temperature, dim=-1)
    tokens = _invert(weights, uniforms(keys, steps))
    limits = torch.full_like(weights[:, :1], top_p)
    rows, drawn, attempt = torch.arange(len(tokens), device=tokens.device), tokens, 0
    while top_p < 1:
        weight = weights.gather(-1, drawn[:, None])
        # Every drawn token now weighs 1, and so a scalar tells those above it.
        weights, limits = weights.div_(weight), limits / weight
        above = torch.threshold(weights, 1.0, 0.0)
        outside = (above.sum(-1, keepdim=True) >= limits).squeeze(-1).nonzero().squeeze(-1)
        if not len(outside):
            break
        rows, weights, limits = rows[outside], above[outside], limits[outside]
        attempt += 1
        drawn = _invert(weights, uniforms(keys[rows], steps[rows], attempt))
        tokens[rows] = drawn
    return tokens


def _invert(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The token in each row's distribution function at `uniform`: first its block, then itself."""
    rows, vocabulary = weights.shape
    block = 1 << round(math.log2(vocabulary) / 2)
    whole = vocabulary // block * block
    sums = weights[:, :whole].view(rows, -1, block).sum(-1)
    sums = torch.cat([sums, weights[:, whole:].sum(-1, keepdim=True)], dim=-1).double()
    number, below = _reach(sums, uniform[:, None] * sums.sum(-1, keepdim=True))
    ids = number * block + torch.arange(block, device=weights.device)
    within = weights.gather(-1, ids.clamp(max=vocabulary - 1)).double() * (ids < vocabulary)
    place, _ = _reach(within, uniform[:, None] * sums.sum(-1, keepdim=True) - below)
    return (number * block + place).squeeze(-1)


def _reach(weights: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the cumulated weights first exceed the target, and how much lies below that place."""
    mass = weights.cumsum(-1)
    # Rounding must not carry the target past all that has weight.
    last = torch.nextafter(mass[:, -1:], torch.zeros_like(mass[:, -1:]))
    place = torch.searchsorted(mass, torch.minimum(target, last), right=True)
    return place, mass.gather(-1, place) - weights.gather(-1, place)


def _shifted(number: torch.Tensor, bits: int) -> torch.Tensor:
    """A right shift that brings in zeros, which torch has for unsigned numbers alone."""
    return (number >> bits) & ((1 << (64 - bits)) - 1)
