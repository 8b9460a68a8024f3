"""Sampling of a token: exact top-p without a sort; each sample has its own random stream."""

import hashlib
import math

import torch

_GAMMA, _FIRST, _SECOND = (
    constant - 2**64 for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)

_CPU_LOGITS, _GPU_LOGITS = 2**20, 2**26
"""Most logits processed at once. A CPU is many times faster if they fit its cache."""


def stream(seed: int, request_id: str, sample: int) -> int:
    """The key of one sample's random numbers (64 bits, signed).

    It depends only on the three arguments, so neither neighbours nor batches can change a sample.
    """
    name = "\x1f".join([str(seed), str(sample), request_id])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def uniforms(keys: torch.Tensor, steps: torch.Tensor, attempt: int = 0) -> torch.Tensor:
    """One random number in [0, 1) per row, in float64.

    The finaliser of SplitMix64 makes it from a counter, so no state is kept.
    Source: Steele, Lea, Flood 2014.

    Args:
        keys: (rows,) of `stream`.
        steps: (rows,) the position of the row's token.
        attempt: Which number of that token: 0 for its first draw.
    """
    mixed = keys + (steps + (attempt << 32) + 1) * _GAMMA
    mixed = (mixed ^ _shifted_right(mixed, 30)) * _FIRST
    mixed = (mixed ^ _shifted_right(mixed, 27)) * _SECOND
    return _shifted_right(mixed ^ _shifted_right(mixed, 31), 11).double() * 2.0**-53


def draw(
    logits: torch.Tensor,
    keys: torch.Tensor,
    steps: torch.Tensor,
    temperature: float,
    top_p: float,
) -> torch.Tensor:
    """One token id per row of `logits` (rows, vocabulary).

    A token is in the nucleus if the tokens that are more probable have less than `top_p` of the
    mass. So the token that crosses this limit is in, and equally probable tokens are in or out
    together. First each row draws from all tokens. A row whose token is outside the nucleus draws
    again, from the tokens that are more probable than that one. An accepted token has the
    distribution of the nucleus, and nothing is ever sorted. Temperature 0 takes the most probable
    token.
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
    most = _CPU_LOGITS if logits.device.type == "cpu" else _GPU_LOGITS
    rows = max(1, most // logits.shape[-1])
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
        # Every drawn token now weighs 1, so one threshold finds the tokens above it.
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
    """Each row's token by inverting the distribution function: first its block, then the token."""
    rows, vocabulary = weights.shape
    block = 1 << round(math.log2(vocabulary) / 2)
    whole = vocabulary // block * block
    sums = weights[:, :whole].view(rows, -1, block).sum(-1)
    sums = torch.cat([sums, weights[:, whole:].sum(-1, keepdim=True)], dim=-1).double()
    number, below = _first_above(sums, uniform[:, None] * sums.sum(-1, keepdim=True))
    ids = number * block + torch.arange(block, device=weights.device)
    within = weights.gather(-1, ids.clamp(max=vocabulary - 1)).double() * (ids < vocabulary)
    position, _ = _first_above(within, uniform[:, None] * sums.sum(-1, keepdim=True) - below)
    return (number * block + position).squeeze(-1)


def _first_above(weights: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Position where the cumulated weights first exceed the target, and the sum before it."""
    mass = weights.cumsum(-1)
    # Rounding must not move the target beyond the last token that has a weight.
    last = torch.nextafter(mass[:, -1:], torch.zeros_like(mass[:, -1:]))
    position = torch.searchsorted(mass, torch.minimum(target, last), right=True)
    return position, mass.gather(-1, position) - weights.gather(-1, position)


def _shifted_right(number: torch.Tensor, bits: int) -> torch.Tensor:
    """A right shift that fills with zeros; torch has it only for unsigned numbers."""
    return (number >> bits) & ((1 << (64 - bits)) - 1)
