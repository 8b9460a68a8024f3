"""Attention over keys and values in several parts: computed for each part, then joined exactly.

The softmax over all keys follows from the parts' unnormalised sums, as in flash attention and
cascade inference. Nothing is approximated.
"""

from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

NAME = "srlm_tiers"
"""Its name in transformers: `model.set_attn_implementation(NAME)`."""

_QUERIES = {"cpu": 64, "cuda": 512}
"""Queries whose scores over a prompt are held at once: fewer compute fewer hidden scores."""


class Part(NamedTuple):
    """The attention of some queries over one part of their keys, not yet normalised."""

    summed: torch.Tensor
    """(..., queries, width): values weighted by exp(score - top)."""
    total: torch.Tensor
    """(..., queries, 1): sum of those weights."""
    top: torch.Tensor
    """(..., queries, 1): largest score."""


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> Part:
    """The `Part` of scaled queries (..., queries, width) over keys and values (..., keys, width).

    Args:
        query: Already multiplied by the attention's scale.
        key: Same leading dimensions as `query`.
        value: Like `key`.
        mask: Added to the scores (..., queries or 1, keys); -inf hides a key. Each query must see
            at least one key.
    """
    scores = (query @ key.transpose(-1, -2)).float()
    if mask is not None:
        scores += mask
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    if value.dtype == torch.float16:  # its largest number is 65,504, and a plain sum may be larger
        return Part(((weights / total).half() @ value).float() * total, total, top)
    return Part((weights.to(value.dtype) @ value).float(), total, top)


def attend_causally(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
    """The `Part` of each query over the keys up to its own place.

    Args:
        query: (prompts, heads of the keys, queries per head of the keys, places, width), scaled.
        key: (prompts, heads, places, width).
        value: Like `key`.
    """
    places, parts = key.shape[-2], []
    block = queries_together(key.device)
    for start in range(0, places, block):
        stop = min(start + block, places)
        later = torch.full((stop - start, stop), -torch.inf, device=key.device).triu_(start + 1)
        queries = query[..., start:stop, :]
        folded, mask = queries.flatten(2, 3), later.repeat(queries.shape[2], 1)
        part = attend(folded, key[:, :, :stop], value[:, :, :stop], mask)
        parts.append(Part(*(x.unflatten(2, queries.shape[2:4]) for x in part)))
    return Part(*(torch.cat(tensors, dim=-2) for tensors in zip(*parts, strict=True)))


def queries_together(device: torch.device) -> int:
    """Queries of a prompt whose scores are held at once."""
    return _QUERIES.get(device.type, _QUERIES["cuda"])


def join(parts: list[Part]) -> torch.Tensor:
    """The attention over all parts together (..., queries, width), in float32."""
    if len(parts) == 1:
        return parts[0].summed / parts[0].total
    top = torch.stack([part.top for part in parts]).amax(0)
    scales = [torch.exp(part.top - top) for part in parts]
    summed = sum(part.summed * scale for part, scale in zip(parts, scales, strict=True))
    return summed / sum(part.total * scale for part, scale in zip(parts, scales, strict=True))


class UnsupportedAttentionError(Exception):
    """The model needs a kind of attention that the tiers do not have."""


_UNSUPPORTED = ("sliding_window", "softcap", "s_aux", "position_bias", "head_mask")
"""Arguments by which some architectures ask for more than plain attention."""


def _tiered_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    tiers: Any = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """What a model's layer calls: (1, heads, tokens, width) becomes (1, tokens, heads, width)."""
    found = [name for name in _UNSUPPORTED if kwargs.get(name) is not None]
    if tiers is None or found or attention_mask is not None:
        raise UnsupportedAttentionError(f"its attention takes {', '.join(found) or 'a mask'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = tiers.attend(module.layer_idx, query[0] * scale, key[0], value[0])
    return attended.to(query.dtype)[None], None


def _no_mask(*args: Any, local_size: int | None = None, **kwargs: Any) -> None:
    """The mask that a model gets; some architectures ask for a window or for chunks only here."""
    if local_size is not None:
        raise UnsupportedAttentionError("its attention sees a window")


AttentionInterface.register(NAME, _tiered_attention)
AttentionMaskInterface.register(NAME, _no_mask)
