"""How a model can be drawn from: the fastest way that gives the logits of each row alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
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

from srlm_kedro.engines.devices import is_out_of_memory
from srlm_kedro.engines.generation.tiered.cache import GrowingLayer
from srlm_kedro.engines.generation.tiered.plain_rows import PlainDecoder
from srlm_kedro.engines.generation.tiered.support import (
    alone,
    difference,
    refusal,
    rounding,
    shifting,
    trial_rows,
)

_LENGTHS = (12, 3)
"""Tokens of the trial's prompts where one is padded, by more than a convolution looks back."""
_DRAWN = 3
_PADDABLE = {
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    GrowingLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
}
"""Layers to which padding at the start does the same however long a row is: nothing, or at once
what a trial of few tokens shows. Others look at blocks, counted from the first column."""


class Way(Enum):
    """How rows are drawn, the fastest first."""

    TIERED = "tiered"
    """Rows share keys and values, and join while others draw."""
    PADDED = "plain"
    """Each row holds what its prompt left in the cache; shorter prompts are padded."""
    ALIKE = "plain, prompts of one length"
    """As PADDED, but what draws together began equally long."""
    UNCACHED = "without cache"
    """As ALIKE; every step computes the whole row anew."""


@dataclass(frozen=True)
class Found:
    """What a trial on the model's own weights said."""

    way: Way | None
    """None where the model cannot be drawn from."""
    reasons: tuple[tuple[Way, str], ...] = ()
    """Why each faster way was passed over."""

    @property
    def last_reason(self) -> str:
        """Why the next faster way was passed over; empty for the fastest."""
        return self.reasons[-1][1] if self.reasons else ""


def find_way(model: Any) -> Found:
    """Sets the tiers' attention where the model can have it, and else finds what it can do.

    Each way draws a few tokens behind made-up prompts. What it says of them must be what one pass
    over each whole row says, as training sees it: that shows padding which a recurrent state
    takes in, a cache that forgets, and a model that looks ahead.
    """
    reasons: list[tuple[Way, str]] = []
    for way in Way:
        reason = refusal(model) if way is Way.TIERED else _tried(model, way)
        if reason is None:
            return Found(way, tuple(reasons))
        reasons.append((way, reason))
    return Found(None, tuple(reasons))


@torch.inference_mode()
def _tried(model: Any, way: Way) -> str | None:
    """Why the model cannot draw this way; None if it can."""
    try:
        if way is Way.PADDED and (reason := _unpaddable(model)):
            return reason
        lengths = _LENGTHS if way is Way.PADDED else [max(_LENGTHS)] * len(_LENGTHS)
        rows = trial_rows(model, [length + _DRAWN for length in lengths])
        expected = alone(model, rows, _DRAWN)
        noise = rounding(model, rows, expected)
        return difference(_drawn(model, rows, way), expected, model.dtype, noise)
    except Exception as error:  # whatever a model of unknown code does with what it is given
        if is_out_of_memory(error):
            raise
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _unpaddable(model: Any) -> str | None:
    config = model.config.get_text_config(decoder=True)
    if shifting(config):
        return "its rotary frequencies follow the longest sequence of a pass"
    if getattr(config, "attention_chunk_size", None):
        return "it attends within chunks, counted from the first column"
    cache = PlainDecoder(model).fresh_cache()
    if cache is None:
        return "it makes a cache of its own"
    kinds = {type(layer) for layer in cache.layers}
    others = sorted(kind.__name__ for kind in kinds - _PADDABLE)
    return f"its cache has a {others[0]}, which may count from the first column" if others else None


def _drawn(model: Any, rows: Sequence[Sequence[int]], way: Way) -> torch.Tensor:
    """(drawn, rows, vocabulary): logits behind each prompt and what it goes on with.

    The first prompt has two rows, one of which leaves after a step.
    """
    decoder = PlainDecoder(model, cached=way is not Way.UNCACHED)
    prompts = [row[:-_DRAWN] for row in rows]
    logits = [decoder.admit(prompts, [2, *[1] * (len(rows) - 1)])[1:]]
    for step in range(_DRAWN - 1):
        tokens = [row[step - _DRAWN] for row in rows]
        if step == 0:
            said = decoder.step(torch.tensor([tokens[0], *tokens], device=model.device))[1:]
            decoder.drop({0})
        else:
            said = decoder.step(torch.tensor(tokens, device=model.device))
        logits.append(said)
    return torch.stack(logits).float()
