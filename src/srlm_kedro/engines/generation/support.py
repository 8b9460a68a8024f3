"""Whether a model may draw over tiers: tried out on its own weights, not looked up in a list."""

from random import Random
from typing import Any

import torch

from srlm_kedro.engines.generation.attention import NAME
from srlm_kedro.engines.generation.tiered import TieredDecoder
from srlm_kedro.engines.generation.tiers import Room
from srlm_kedro.engines.memory import is_out_of_memory

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
    config = model.config.get_text_config(decoder=True)
    if _shifting(config):
        return "its rotary frequencies follow the longest sequence of a pass"
    rows = _rows(config.vocab_size)
    with torch.inference_mode():
        expected = _plain(model, rows)
        try:
            model.set_attn_implementation(NAME)
            difference = (_tiered(model, rows) - expected).square().mean().sqrt() / expected.std()
            if difference <= _TOLERANCE.get(model.dtype, _COARSE):
                return None
            reason = f"its logits would differ by {float(difference):.1g} of their spread"
        except Exception as error:  # whatever a model of unknown code does with what it is given
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
    model.set_attn_implementation(own)
    return reason


def _shifting(config: Any) -> bool:
    """Whether a neighbour's length would change what a row sees."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    return any(kind.get("rope_type") in ("longrope", "dynamic") for kind in kinds)


def _rows(vocabulary: int) -> list[list[int]]:
    """Token ids that begin alike."""
    random = Random(0)
    length = max(_OWN) + _DRAWN
    prefix = [random.randrange(vocabulary) for _ in range(_PREFIX)]
    return [prefix + [random.randrange(vocabulary) for _ in range(length)] for _ in _OWN]


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
