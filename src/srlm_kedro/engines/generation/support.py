"""Whether a model may draw over tiers: tried out on its own weights, not looked up in a list."""

from typing import Any

import torch

from srlm_kedro.engines.generation.attention import NAME, UnsupportedAttentionError
from srlm_kedro.engines.generation.tiered import TieredDecoder
from srlm_kedro.engines.generation.tiers import Room

_PREFIX, _OWN, _DRAWN = 5, (4, 2), 3
_TOLERANCE, _COARSE = {torch.float32: 1e-4}, 0.05
"""Root mean square of the logits' differences, as a share of their spread. The half precisions,
which round by 2**-8 or so at each layer, differ by some hundredths."""


def refusal(model: Any) -> str | None:
    """Sets the tiers' attention, or says why the model keeps its own.

    A few tokens go through the model both ways. A layer that asks for a window, a cap or a bias,
    and one that mixes tokens by other means than attention, shows there.
    """
    own = model.config._attn_implementation
    size = model.config.get_text_config(decoder=True).vocab_size
    length = _PREFIX + max(_OWN) + _DRAWN
    ids = [(7919 * place + 13) % size for place in range(len(_OWN) * length)]
    rows = [ids[number * length :][:length] for number in range(len(_OWN))]
    rows = [rows[0][:_PREFIX] + row[_PREFIX:] for row in rows]
    with torch.inference_mode():
        expected = _plain(model, rows)
        try:
            model.set_attn_implementation(NAME)
            difference = (_tiered(model, rows) - expected).square().mean().sqrt() / expected.std()
        except (UnsupportedAttentionError, ValueError, TypeError, AttributeError) as error:
            reason = str(error)
        else:
            if difference <= _TOLERANCE.get(model.dtype, _COARSE):
                return None
            reason = f"its logits would differ by {float(difference):.1g} of their spread"
    model.set_attn_implementation(own)
    return reason


def _plain(model: Any, rows: list[list[int]]) -> torch.Tensor:
    """(drawn, rows, vocabulary): logits behind each row's prompt and drawn tokens."""
    logits = []
    for row, own in zip(rows, _OWN, strict=True):
        ids = torch.tensor([row[: _PREFIX + own + _DRAWN - 1]], device=model.device)
        logits.append(model(input_ids=ids, use_cache=False).logits[0, -_DRAWN:].float())
    return torch.stack(logits, dim=1)


def _tiered(model: Any, rows: list[list[int]]) -> torch.Tensor:
    room = Room(groups=len(rows), rows=len(rows), tail=_DRAWN)
    decoder = TieredDecoder(model, rows[0][:_PREFIX], room)
    prompts = [row[: _PREFIX + own] for row, own in zip(rows, _OWN, strict=True)]
    logits = [decoder.admit(prompts, [1] * len(rows))]
    for step in range(_DRAWN - 1):
        tokens = [row[_PREFIX + own + step] for row, own in zip(rows, _OWN, strict=True)]
        logits.append(decoder.step(torch.tensor(tokens, device=model.device)))
    return torch.stack(logits).float()
