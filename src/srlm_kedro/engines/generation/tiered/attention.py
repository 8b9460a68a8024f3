"""Attention over keys and values that lie in parts: each on its own, then joined exactly.

The softmax over all keys is recovered from the parts' unnormalised sums, as in flash attention and
cascade inference: nothing is approximated.
"""

from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

NAME = "srlm_tiers"
"""Under which transformers knows it: `model.set_attn_implementation(NAME)`."""

_QUERIES = {"cpu": 64, "cuda": 512}
"""Queries whose scores over a prompt are held at once: fewer see less that they need not see."""


class Part(NamedTuple):
    """What some queries see in one part of their keys."""

    summed: torch.Tensor
    """(..., queries, width): values weighted by exp(score - top)."""
    total: torch.Tensor
    """(..., queries, 1): sum of those weights."""
    top: torch.Tensor
    """(..., queries, 1): largest score."""


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> Part:
    """The part of scaled queries (..., queries, width) over keys and values (..., keys, width).

    Args:
        query: Already multiplied by the attention's scale.
        key: Same leading dimensions as `query`.
        value: Like `key`.
        mask: Added to the scores (..., queries or 1, keys): -inf hides; one key a query is seen.
    """
    scores = (query @ key.transpose(-1, -2)).float()
    if mask is not None:
        scores += mask
    top = scores.amax(-1, keepdim=True)
    weights = scores.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    if value.dtype == torch.float16:  # whose numbers end at 65,504, which a plain sum may pass
        return Part(((weights / total).half() @ value).float() * total, total, top)
    return Part((weights.to(value.dtype) @ value).float(), total, top)


def attend_causally(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Part:
    """Each query over the keys up to its own place; (..., repeats, places, width) against one head.

    Args:
        query: (prompts, heads of the keys, queries a key's head, places, width), scaled.
        key: (prompts, heads, places, width).
        value: Like `key`.
    """
    places, parts = key.shape[-2], []
    block = queries_together(key.device)
    for start in range(0, places, block):
        stop = min(start + block, places)
        ahead = torch.full((stop - start, stop), -torch.inf, device=key.device).triu_(start + 1)
        asking = query[..., start:stop, :]
        folded, mask = asking.flatten(2, 3), ahead.repeat(asking.shape[2], 1)
        part = attend(folded, key[:, :, :stop], value[:, :, :stop], mask)
        parts.append(Part(*(x.unflatten(2, asking.shape[2:4]) for x in part)))
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
    """The model asks of its attention what the tiers do not have."""


_FOREIGN = ("sliding_window", "softcap", "s_aux", "position_bias", "head_mask")
"""Arguments by which some architectures ask for another attention than the plain one."""


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
    """What a layer of a model calls: (1, heads, tokens, width) to (1, tokens, heads, width)."""
    asked = [name for name in _FOREIGN if kwargs.get(name) is not None]
    if tiers is None or asked or attention_mask is not None:
        raise UnsupportedAttentionError(f"its attention takes {', '.join(asked) or 'a mask'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = tiers.attend(module.layer_idx, query[0] * scale, key[0], value[0])
    return attended.to(query.dtype)[None], None


def _no_mask(*args: Any, local_size: int | None = None, **kwargs: Any) -> None:
    """What a model is given for a mask; some ask for a window or for chunks here alone."""
    if local_size is not None:
        raise UnsupportedAttentionError("its attention sees a window")


AttentionInterface.register(NAME, _tiered_attention)
AttentionMaskInterface.register(NAME, _no_mask)
