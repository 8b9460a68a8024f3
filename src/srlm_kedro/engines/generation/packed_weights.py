"""Weights of a model's linear layers, laid out once as a CPU multiplies them.

Torch's own product lays out the whole matrix anew at each call. With few rows that takes up to a
third of the time: each weight is used as often as there are rows. oneDNN, which torch brings along,
multiplies by a matrix that was laid out before. Torch's compiler uses the same two operations.
"""

import logging
from collections.abc import Iterator
from random import Random
from typing import Any

import torch

from srlm_kedro.engines import machine

_WORTH_PACKING = 2**24
"""Weights in linear layers from which on a model is packed. Smaller ones keep torch's own product,
and with it their bits: little time is lost, as their matrices stay in a CPU's cache."""
_OF_MEMORY = 0.25
"""Share of the machine's memory that the weights may take. While packing is tried out, there are
two copies of them."""
_TRIED = 24
"""Tokens of the trial."""
_TOLERANCE = 1e-3
"""Largest root mean square of the logits' differences, as a share of their spread. Rounding alone
makes 5e-6 of it as a rule. It made 1.2e-4 for one row of a SmolLM2 trained by DPO."""

_log = logging.getLogger(__name__)


class PackedLinear(torch.nn.Module):
    """A linear layer without gradients, whose weight only oneDNN can read."""

    def __init__(self, linear: torch.nn.Linear):
        """Copies the layer's weight into oneDNN's layout."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        # No buffer: a packed weight can be neither saved nor moved to a device.
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(..., in_features) becomes (..., out_features)."""
        return torch.ops.mkldnn._linear_pointwise(features, self._packed, self.bias, "none", [], "")


@torch.no_grad()
def pack(model: Any) -> bool:
    """Packs the linear layers of a large float32 model on a CPU; says whether it did.

    Packing is tried out: if the logits of a few tokens differ by more than rounding, or the model
    needs the weights themselves, the model stays as it was.
    """
    if model.device.type != "cpu" or model.dtype != torch.float32 or not _has_packing():
        return False
    places = list(_linears(model))
    weights = sum(linear.weight.numel() for _, _, linear in places)
    if weights < _WORTH_PACKING:
        return False
    if 4 * weights > _OF_MEMORY * machine.memory():
        _log.info("The weights are not packed for this CPU: there is no memory for a second copy.")
        return False
    expected = _trial(model)
    try:
        for parent, name, linear in places:
            setattr(parent, name, PackedLinear(linear))
        difference = (_trial(model) - expected).square().mean().sqrt()
        if difference <= _TOLERANCE * expected.std():
            return True
        reason = f"its logits would differ by {float(difference / expected.std()):.1g}"
    except Exception as error:  # unknown code of a model may raise anything
        reason = str(error) or type(error).__name__
    for parent, name, linear in places:
        setattr(parent, name, linear)
    _log.info("The weights are not packed for this CPU, so sampling is slower: %s.", reason)
    return False


def _has_packing() -> bool:
    """Whether this build of torch has the two operations."""
    operations = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, operation) for operation in operations
    )


def _linears(model: Any) -> Iterator[tuple[torch.nn.Module, str, torch.nn.Linear]]:
    """Each plain linear layer with the module that holds it and its name there."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if type(child) is torch.nn.Linear and child.weight.dtype == torch.float32:
                yield parent, name, child


def _trial(model: Any) -> torch.Tensor:
    """The logits of a made-up row."""
    random, vocabulary = Random(0), model.config.get_text_config(decoder=True).vocab_size
    row = [random.randrange(vocabulary) for _ in range(_TRIED)]
    return model(input_ids=torch.tensor([row]), use_cache=False).logits
