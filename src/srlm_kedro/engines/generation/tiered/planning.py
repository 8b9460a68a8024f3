"""Which samples are drawn together, and how many rows fit into memory next to the weights."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from srlm_kedro.engines.generation.tiered.attention import queries_together
from srlm_kedro.engines.generation.tiered.prefix_tree import PADDED_TOKENS, Node
from srlm_kedro.engines.generation.tiered.tiered_rows import PREFILL_TOKENS
from srlm_kedro.engines.torch_device import GIB
from srlm_kedro.engines.weights import config_size

_ON_CPU = 2.0
"""Default on a CPU, in GiB. It is a constant, so that batches, and with them bits, do not depend on
the machine."""
_OF_BUDGET = 0.9
"""Share of a budget that is used; the rest is lost between an allocator's pieces."""
_OF_FREE = 0.85
"""Default on a GPU: share of what the weights left free; the rest is for fragments and kernels."""
_SPARE_GROUPS = 1.5
"""Groups whose other rows are finished still hold their keys, so there are more places for them."""
_ROWS = range(1, 2**16)


@dataclass(frozen=True)
class Share:
    """Some samples of one request."""

    request: int
    """Its place among the requests."""
    samples: range


@dataclass(frozen=True)
class Wave:
    """Shares that are drawn with the same buffers; waiting ones join as rows finish."""

    shares: list[Share]
    """Long prompts first, so that rows that are drawn together have similar lengths."""
    rows: int
    """Most rows at once."""


def waves(
    shares: Sequence[Share], lengths: Sequence[int], capacity: Callable[[int], int]
) -> Iterator[Wave]:
    """Waves that together hold every share once; a share wider than a wave is split.

    A wave's buffers have the size that its longest prompt needs. So a full wave ends before a
    prompt of less than half that length, if more rows with such prompts would fit.

    Args:
        shares: What is to be drawn.
        lengths: Tokens of each request's prompt.
        capacity: Rows that fit at once if prompts have so many tokens.
    """
    left = sorted(shares, key=lambda share: -lengths[share.request])
    while left:
        longest = lengths[left[0].request]
        rows = capacity(longest)
        held = count = 0
        for share in left:
            length = lengths[share.request]
            if held >= rows and 2 * length < longest and capacity(length) > rows:
                break
            held, count = held + len(share.samples), count + 1
        parts = [part for share in left[:count] for part in _split(share, rows)]
        yield Wave(parts, min(rows, held))
        left = left[count:]


def memory_budget(gib: float | None, device: torch.device) -> int:
    """Bytes that keys, values and a pass's intermediate results may take together.

    Args:
        gib: What the user allows; None takes the device's default.
        device: It holds the weights already.
    """
    if gib is None and device.type != "cuda":
        gib = _ON_CPU
    if gib is not None:
        return int(_OF_BUDGET * gib * GIB)
    torch.cuda.empty_cache()
    return int(_OF_FREE * torch.cuda.mem_get_info(device)[0])


@dataclass(frozen=True)
class Costs:
    """Bytes that sampling from one model takes, estimated for a block like Llama's."""

    token: int
    """Keys and values of one token in all layers."""
    draw: int
    """Logits of one row, and what the sampler makes of them."""
    passing: int
    """Intermediate results of one token of a pass."""
    score: int
    """Scores of one query against one key, and what is made of them."""
    queries: int
    """Queries of a prompt whose scores are held at once."""

    @classmethod
    def of(cls, model: Any) -> "Costs":
        """The costs by the model's configuration."""
        config, size = model.config.get_text_config(decoder=True), model.dtype.itemsize
        heads = config_size(config, "num_attention_heads") or 1
        key_heads = config_size(config, "num_key_value_heads") or heads
        width = config_size(config, "head_dim") or config.hidden_size // heads
        inner = config_size(config, "intermediate_size") or 4 * config.hidden_size
        return cls(
            token=2 * config.num_hidden_layers * key_heads * width * size,
            # Logits, and a copy joined with new rows'; in float32 divided, as weights, and
            # the weights above a drawn token.
            draw=config.vocab_size * (2 * size + 12),
            passing=(8 * config.hidden_size + 3 * inner) * size + 6 * heads * width * 4,
            score=heads * (8 if size == 4 else 12),
            queries=queries_together(model.device),
        )


@dataclass(frozen=True)
class Work:
    """What is drawn together, in tokens."""

    shared: int
    """Prefix that all prompts share."""
    own: int
    """Longest rest of a prompt after that prefix."""
    samples: int
    """Completions per prompt."""
    new: int
    """Longest completion."""

    @property
    def seen(self) -> int:
        """Most tokens that the last token of a row can see."""
        return self.shared + self.own + self.new


def tiered_rows(budget: int, costs: Costs, work: Work) -> int:
    """Rows whose three tiers fit; at least one."""
    passed = max(PREFILL_TOKENS, work.own, work.shared)
    looked_at = costs.queries * passed + max(PREFILL_TOKENS, work.own) * work.shared
    fixed = work.shared * costs.token + passed * costs.passing + looked_at * costs.score
    row = work.new * costs.token + costs.draw + costs.passing + work.seen * costs.score

    def needed(rows: int) -> int:
        groups = places_for_groups(rows, work.samples)
        return fixed + rows * row + groups * work.own * costs.token

    return max(1, bisect_right(_ROWS, budget, key=needed))


def places_for_groups(rows: int, samples: float) -> int:
    """Most groups that are held with so many rows; a group of `samples` rows may be down to one."""
    return min(rows, math.ceil(_SPARE_GROUPS * rows / samples))


def plain_rows(budget: int, costs: Costs, work: Work) -> int:
    """Rows that fit if each holds its whole prompt; at least one."""
    prompt = work.shared + work.own
    prefill = prompt * (costs.passing + prompt * costs.score) / work.samples
    # Rows are copied when one leaves: for a moment a layer is in memory twice.
    held = work.seen * costs.token * 1.5
    row = held + max(prefill, costs.draw + costs.passing + work.seen * costs.score)
    return max(1, int(budget / row))


def uncached_rows(budget: int, costs: Costs, work: Work) -> int:
    """Rows that fit if each step computes all tokens of a row again; at least one."""
    row = work.seen * (costs.passing + work.seen * costs.score) + costs.draw
    return max(1, int(budget / row))


def tree_bytes(costs: Costs, levels: Sequence[Sequence[Node]]) -> int:
    """Bytes that a tree of prefixes takes: what is kept of inner nodes, and the largest pass."""
    inner = [[node.tokens for node in nodes if not node.leaf] for nodes in levels]
    held = sum(len(lengths) * max(lengths, default=0) for lengths in inner)
    passed = max(PADDED_TOKENS, *(node.tokens for nodes in levels for node in nodes))
    widest = max((max(lengths, default=0) for lengths in inner), default=0)
    scores = costs.queries * passed + PADDED_TOKENS * widest
    return held * costs.token + passed * costs.passing + scores * costs.score


def _split(share: Share, most: int) -> Iterator[Share]:
    for start in range(share.samples.start, share.samples.stop, most):
        yield Share(share.request, range(start, min(start + most, share.samples.stop)))
