"""How many rows fit into the memory that drawing may take, beside the model's weights."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import torch

from srlm_kedro.engines.devices import GIB
from srlm_kedro.engines.generation.tiered.attention import queries_together
from srlm_kedro.engines.generation.tiered.tiered_rows import PREFILL_TOKENS
from srlm_kedro.engines.weights import config_size

_ON_CPU = 2.0
"""Default on a CPU, in GiB: a constant, so that batches, and with them bits, do not hang on the
machine."""
_OF_BUDGET = 0.9
"""What is counted on of a budget; the rest lies between an allocator's pieces."""
_OF_FREE = 0.85
"""Default on a GPU: the share of what the weights left free; the rest is fragments and kernels."""


def allowed(gib: float | None, device: torch.device) -> int:
    """Bytes that keys, values and a pass's intermediate results may take together.

    Args:
        gib: What the user allows; None takes the device's default.
        device: Holds the weights already.
    """
    if gib is None and device.type != "cuda":
        gib = _ON_CPU
    if gib is not None:
        return int(_OF_BUDGET * gib * GIB)
    torch.cuda.empty_cache()
    return int(_OF_FREE * torch.cuda.mem_get_info(device)[0])


@dataclass(frozen=True)
class Costs:
    """Bytes that drawing with one model takes, estimated for a block like Llama's."""

    token: int
    """Keys and values of one token in all layers."""
    draw: int
    """Logits of one row, and what the sampler makes of them."""
    passing: int
    """Intermediate results of one token of a pass."""
    score: int
    """Scores of one query against one key, and what becomes of them."""
    queries: int
    """Queries of a prompt that look back together."""

    @classmethod
    def of(cls, model: Any) -> "Costs":
        """Read off the model's configuration."""
        config, size = model.config.get_text_config(decoder=True), model.dtype.itemsize
        heads = config_size(config, "num_attention_heads") or 1
        key_heads = config_size(config, "num_key_value_heads") or heads
        width = config_size(config, "head_dim") or config.hidden_size // heads
        inner = config_size(config, "intermediate_size") or 4 * config.hidden_size
        return cls(
            token=2 * config.num_hidden_layers * key_heads * width * size,
            # Logits, joined with those of new rows; in float32 divided, as weights, those above.
            draw=config.vocab_size * (2 * size + 12),
            passing=(8 * config.hidden_size + 3 * inner) * size + 6 * heads * width * 4,
            score=heads * (8 if size == 4 else 12),
            queries=queries_together(model.device),
        )


@dataclass(frozen=True)
class Work:
    """What is drawn together, in tokens."""

    shared: int
    """Prefix of all prompts."""
    own: int
    """Longest prompt behind it."""
    samples: int
    """Completions a prompt."""
    new: int
    """Longest completion."""

    @property
    def seen(self) -> int:
        """Tokens that the last one drawn may look back on."""
        return self.shared + self.own + self.new


def tiered_rows(budget: int, costs: Costs, work: Work) -> int:
    """Rows whose three tiers fit; one at least."""
    passed = max(PREFILL_TOKENS, work.own, work.shared)
    looked_at = costs.queries * passed + max(PREFILL_TOKENS, work.own) * work.shared
    fixed = work.shared * costs.token + passed * costs.passing + looked_at * costs.score
    row = work.new * costs.token + costs.draw + costs.passing + work.seen * costs.score

    def taken(rows: int) -> int:
        groups = groups_beside(rows, work.samples)
        return fixed + rows * row + groups * work.own * costs.token

    return max(1, bisect_right(_ROWS, budget, key=taken))


def groups_beside(rows: int, samples: float) -> int:
    """Groups that are held for so many rows of `samples` each; some have lost all but one."""
    return min(rows, math.ceil(_SPARE_GROUPS * rows / samples))


_ROWS = range(1, 2**16)
_SPARE_GROUPS = 1.5
"""Groups whose other rows are finished still hold their keys: so many more places there are."""


def plain_rows(budget: int, costs: Costs, work: Work) -> int:
    """Rows that fit where each holds its whole prompt; one at least."""
    prompt = work.shared + work.own
    prefill = prompt * (costs.passing + prompt * costs.score) / work.samples
    # Rows are copied where one leaves: for a moment a layer is there twice.
    held = work.seen * costs.token * 1.5
    row = held + max(prefill, costs.draw + costs.passing + work.seen * costs.score)
    return max(1, int(budget / row))


def uncached_rows(budget: int, costs: Costs, work: Work) -> int:
    """Rows that fit where each step computes all that a row has seen; one at least."""
    row = work.seen * (costs.passing + work.seen * costs.score) + costs.draw
    return max(1, int(budget / row))
