"""Strategies of sampling: the fastest one that gives the logits that each row has by itself.

Which one a model allows is tried on its own weights. No list of architectures is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

import torch
from transformers.cache_utils import (
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)

from srlm_kedro.engines.generation.tiered.attention import NAME
from srlm_kedro.engines.generation.tiered.plain_rows import GrowingLayer, PlainDecoder
from srlm_kedro.engines.generation.tiered.tiered_rows import TieredDecoder
from srlm_kedro.engines.generation.tiered.tiers import Room
from srlm_kedro.engines.torch_device import is_out_of_memory

_PREFIX, _OWN = 5, (4, 2)
"""Tokens of the trial of tiers: a prefix that two prompts share, and the rest of each prompt."""
_LENGTHS = (12, 3)
"""Tokens of the trial's prompts if one is padded. A convolution looks back less than that."""
_DRAWN = 3
"""Tokens that a trial adds to each prompt."""
_TOLERANCE, _COARSE = {torch.float32: 1e-4}, 0.05
"""Largest root mean square of the logits' differences, as a share of their spread.

The half precisions round by about 2**-8 in each layer and differ by some hundredths. They differ
by more if a token close to a border goes to another expert, so a trial measures the rounding of
that model too.
"""
_TIMES = 2.0
"""So many times a model's measured rounding is allowed."""
_PADDABLE = {
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    GrowingLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
}
"""Cache layers for which the length of a row does not change what padding at its start does.

Padding does nothing to them, or does at once what a trial of few tokens shows. Other layers work
on blocks that are counted from the first column.
"""


class Strategy(Enum):
    """How rows are sampled, the fastest first."""

    TIERED = "tiered"
    """Rows share keys and values, and new rows join while others are sampled."""
    PADDED = "plain"
    """Each row holds its whole prompt in the cache; shorter prompts are padded."""
    SAME_LENGTH = "plain, prompts of one length"
    """Like PADDED, but rows that are sampled together have prompts of the same length."""
    UNCACHED = "without cache"
    """Like SAME_LENGTH, but each step computes the whole row again."""


@dataclass(frozen=True)
class Found:
    """The result of the trials on a model's own weights."""

    strategy: Strategy | None
    """None if the model cannot be sampled from."""
    reasons: tuple[tuple[Strategy, str], ...] = ()
    """Why each faster strategy was not taken."""

    @property
    def last_reason(self) -> str:
        """Why the next faster strategy was not taken; empty for the fastest."""
        return self.reasons[-1][1] if self.reasons else ""


def find_strategy(model: Any) -> Found:
    """Finds the fastest strategy, and sets the tiers' attention if the model allows it.

    Each strategy adds a few tokens to made-up prompts. Their logits must be those of one pass over
    each whole row, which is how training sees it. This shows padding that a recurrent state takes
    in, a cache that forgets, and a model that looks ahead.
    """
    reasons: list[tuple[Strategy, str]] = []
    for strategy in Strategy:
        tiered = strategy is Strategy.TIERED
        reason = refusal_of_tiers(model) if tiered else _refusal(model, strategy)
        if reason is None:
            return Found(strategy, tuple(reasons))
        reasons.append((strategy, reason))
    return Found(None, tuple(reasons))


def refusal_of_tiers(model: Any) -> str | None:
    """Sets the tiers' attention and returns None, or says why the model keeps its own.

    A few tokens go through the model with both. That shows a layer that asks for a window, a cap
    or a bias, and one that mixes tokens by other means than attention.
    """
    before = model.config._attn_implementation
    if _has_shifting_frequencies(model.config.get_text_config(decoder=True)):
        return "its rotary frequencies follow the longest sequence of a pass"
    with torch.inference_mode():
        try:
            rows = _trial_rows(model, [_PREFIX + own + _DRAWN for own in _OWN])
            expected = _logits_alone(model, rows)
            model.set_attn_implementation(NAME)
            reason = _difference(_logits_by_tiers(model, rows), expected, model.dtype)
            if reason is None:
                return None
        except Exception as error:  # unknown code of a model may raise anything
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
    model.set_attn_implementation(before)
    return reason


@torch.inference_mode()
def _refusal(model: Any, strategy: Strategy) -> str | None:
    """Why the model does not allow this strategy of plain rows; None if it does."""
    padded = strategy is Strategy.PADDED
    try:
        if padded and (reason := _unpaddable(model)):
            return reason
        lengths = _LENGTHS if padded else [max(_LENGTHS)] * len(_LENGTHS)
        rows = _trial_rows(model, [length + _DRAWN for length in lengths])
        expected = _logits_alone(model, rows)
        noise = _rounding(model, rows, expected)
        found = _logits_by_plain_rows(model, rows, cached=strategy is not Strategy.UNCACHED)
        return _difference(found, expected, model.dtype, noise)
    except Exception as error:  # unknown code of a model may raise anything
        if is_out_of_memory(error):
            raise
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _unpaddable(model: Any) -> str | None:
    config = model.config.get_text_config(decoder=True)
    if _has_shifting_frequencies(config):
        return "its rotary frequencies follow the longest sequence of a pass"
    if getattr(config, "attention_chunk_size", None):
        return "it attends within chunks, counted from the first column"
    cache = PlainDecoder(model).empty_cache()
    if cache is None:
        return "it makes a cache of its own"
    kinds = {type(layer) for layer in cache.layers}
    others = sorted(kind.__name__ for kind in kinds - _PADDABLE)
    return f"its cache has a {others[0]}, which may count from the first column" if others else None


def _has_shifting_frequencies(config: Any) -> bool:
    """Whether the length of another row would change what a row sees."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    return any(kind.get("rope_type") in ("longrope", "dynamic") for kind in kinds)


def _trial_rows(model: Any, lengths: Sequence[int]) -> list[list[int]]:
    """Token ids with a common beginning, one row per length."""
    random, vocabulary = Random(0), model.config.get_text_config(decoder=True).vocab_size
    prefix = [random.randrange(vocabulary) for _ in range(_PREFIX)]
    longest = max(lengths) - _PREFIX
    rows = [prefix + [random.randrange(vocabulary) for _ in range(longest)] for _ in lengths]
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def _logits_alone(model: Any, rows: Sequence[Sequence[int]], copies: int = 1) -> torch.Tensor:
    """(drawn, rows, vocabulary): logits for each row's last tokens, by one pass over that row."""
    logits = []
    for row in rows:
        ids = torch.tensor([row[:-1]] * copies, device=model.device)
        logits.append(model(input_ids=ids, use_cache=False).logits[0, -_DRAWN:].float())
    return torch.stack(logits, dim=1)


def _logits_by_tiers(model: Any, rows: list[list[int]]) -> torch.Tensor:
    """(drawn, rows, vocabulary): the same logits, token by token over tiers."""
    room = Room(groups=len(rows), rows=len(rows), tail=_DRAWN)
    decoder = TieredDecoder(model, rows[0][:_PREFIX], room)
    prompts = [row[: _PREFIX + own] for row, own in zip(rows, _OWN, strict=True)]
    logits = [decoder.admit(prompts, [1] * len(rows))]
    for step in range(_DRAWN - 1):
        tokens = [row[_PREFIX + own + step] for row, own in zip(rows, _OWN, strict=True)]
        logits.append(decoder.step(torch.tensor(tokens, device=model.device)))
    return torch.stack(logits).float()


def _logits_by_plain_rows(model: Any, rows: Sequence[Sequence[int]], cached: bool) -> torch.Tensor:
    """(drawn, rows, vocabulary): the same logits, token by token over plain rows.

    The first prompt has two rows, one of which leaves after a step.
    """
    decoder = PlainDecoder(model, cached)
    prompts = [row[:-_DRAWN] for row in rows]
    logits = [decoder.admit(prompts, [2, *[1] * (len(rows) - 1)])[1:]]
    for step in range(_DRAWN - 1):
        tokens = [row[step - _DRAWN] for row in rows]
        if step == 0:
            found = decoder.step(torch.tensor([tokens[0], *tokens], device=model.device))[1:]
            decoder.drop({0})
        else:
            found = decoder.step(torch.tensor(tokens, device=model.device))
        logits.append(found)
    return torch.stack(logits).float()


def _rounding(model: Any, rows: Sequence[Sequence[int]], expected: torch.Tensor) -> float:
    """How far half precision moves the logits of a row in a batch with copies of itself."""
    if model.dtype in _TOLERANCE:
        return 0.0
    batched = [_logits_alone(model, [row], copies=len(rows) + 1) for row in rows]
    return _distance(torch.cat(batched, dim=1), expected)


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the differences, as a share of the logits' spread."""
    return float((found - expected).square().mean().sqrt() / expected.std())


def _difference(
    found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, noise: float = 0.0
) -> str | None:
    """How far the logits differ; None if the type's rounding, or measured `noise`, explains it."""
    share = _distance(found, expected)
    if share <= max(_TOLERANCE.get(dtype, _COARSE), _TIMES * noise):
        return None
    return f"its logits would differ by {float(share):.1g} of their spread"
