"""Whether a model may draw over tiers: tried out on its own weights, not looked up in a list."""

from collections.abc import Sequence
from random import Random
from typing import Any

import torch

from srlm_kedro.engines.devices import is_out_of_memory
from srlm_kedro.engines.generation.tiered.attention import NAME
from srlm_kedro.engines.generation.tiered.tiered_rows import TieredDecoder
from srlm_kedro.engines.generation.tiered.tiers import Room

_PREFIX, _OWN, _DRAWN = 5, (4, 2), 3
_TOLERANCE, _COARSE = {torch.float32: 1e-4}, 0.05
"""Root mean square of the logits' differences, as a share of their spread. The half precisions,
which round by 2**-8 or so at each layer, differ by some hundredths; by more where a token close
to a border goes to another expert, so a trial counts that model's own rounding."""
_TIMES = 2.0


def refusal(model: Any) -> str | None:
    """Sets the tiers' attention, or says why the model keeps its own.

    A few tokens go through the model both ways. A layer that asks for a window, a cap or a bias,
    and one that mixes tokens by other means than attention, shows there.
    """
    own = model.config._attn_implementation
    config = model.config.get_text_config(decoder=True)
    if shifting(config):
        return "its rotary frequencies follow the longest sequence of a pass"
    with torch.inference_mode():
        try:
            rows = trial_rows(model, [_PREFIX + own + _DRAWN for own in _OWN])
            expected = alone(model, rows, _DRAWN)
            model.set_attn_implementation(NAME)
            if (reason := difference(_tiered(model, rows), expected, model.dtype)) is None:
                return None
        except Exception as error:  # whatever a model of unknown code does with what it is given
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            reason = str(error) or type(error).__name__
    model.set_attn_implementation(own)
    return reason


def shifting(config: Any) -> bool:
    """Whether a neighbour's length would change what a row sees."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    return any(kind.get("rope_type") in ("longrope", "dynamic") for kind in kinds)


def trial_rows(model: Any, lengths: Sequence[int]) -> list[list[int]]:
    """Token ids that begin alike, one row a length."""
    random, vocabulary = Random(0), model.config.get_text_config(decoder=True).vocab_size
    prefix = [random.randrange(vocabulary) for _ in range(_PREFIX)]
    longest = max(lengths) - _PREFIX
    rows = [prefix + [random.randrange(vocabulary) for _ in range(longest)] for _ in lengths]
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def alone(model: Any, rows: Sequence[Sequence[int]], drawn: int, copies: int = 1) -> torch.Tensor:
    """(drawn, rows, vocabulary): logits behind all but each row's last tokens, as if drawn."""
    logits = []
    for row in rows:
        ids = torch.tensor([row[:-1]] * copies, device=model.device)
        logits.append(model(input_ids=ids, use_cache=False).logits[0, -drawn:].float())
    return torch.stack(logits, dim=1)


def rounding(model: Any, rows: Sequence[Sequence[int]], expected: torch.Tensor) -> float:
    """How far the half precisions alone move the logits: of each row, beside copies of itself."""
    if model.dtype in _TOLERANCE:
        return 0.0
    beside = [alone(model, [row], len(expected), copies=len(rows) + 1) for row in rows]
    return apart(torch.cat(beside, dim=1), expected)


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of the differences, as a share of the logits' spread."""
    return float((found - expected).square().mean().sqrt() / expected.std())


def difference(
    found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, noise: float = 0.0
) -> str | None:
    """How far the logits are apart; None where rounding, at least `noise`, explains it."""
    share = apart(found, expected)
    if share <= max(_TOLERANCE.get(dtype, _COARSE), _TIMES * noise):
        return None
    return f"its logits would differ by {float(share):.1g} of their spread"


def _tiered(model: Any, rows: list[list[int]]) -> torch.Tensor:
    room = Room(groups=len(rows), rows=len(rows), tail=_DRAWN)
    decoder = TieredDecoder(model, rows[0][:_PREFIX], room)
    prompts = [row[: _PREFIX + own] for row, own in zip(rows, _OWN, strict=True)]
    logits = [decoder.admit(prompts, [1] * len(rows))]
    for step in range(_DRAWN - 1):
        tokens = [row[_PREFIX + own + step] for row, own in zip(rows, _OWN, strict=True)]
        logits.append(decoder.step(torch.tensor(tokens, device=model.device)))
    return torch.stack(logits).float()
