"""Whether a step's activations fit the device, or are better computed twice."""

import logging
from collections.abc import Iterable
from typing import Any

import torch

from srlm_kedro.engines import machine
from srlm_kedro.engines.torch_device import GIB
from srlm_kedro.engines.training.trl.policy import Setup
from srlm_kedro.engines.weights import config_size

_log = logging.getLogger(__name__)
_SHARE = 0.8
"""Part of the memory to count on; the rest is for buffers and fragments."""
_MOMENTS_AND_GRADIENT = 12
"""Bytes a trained weight, beside the weight itself."""
_BLOCK_WIDTHS, _BLOCK_INNER = 12, 4
"""Values that a Llama block keeps of a token: widths (norms and residuals stay in float32), and
feed-forward widths. Measured: 10.6 and 4."""
_SPELLED_OUT = 3
"""Copies of the attention's weights, where no kernel spares them."""


def must_recompute(
    label: str, models: Iterable[Any], rows: int, longest: int, setup: Setup
) -> bool:
    """Whether a micro-batch's activations do not fit beside what else the device must hold.

    Args:
        label: What is trained, for the log.
        models: The one that is trained, then others that the trainer holds.
        rows: Sequences in memory at once.
        longest: Tokens of the longest of them.
        setup: How the models are held.
    """
    trained, *_ = models = [one for one in models if one is not None]
    needed = activation_bytes(trained.config, rows, longest, setup.cpu, setup.bf16)
    room = _SHARE * _free(setup.cpu) - sum(map(_to_come, models))
    recomputed = needed > room
    if recomputed:
        _log.info(
            "%s: activations are computed twice; %d rows of up to %d tokens would keep %.1f GiB "
            "of them, and there is room for %.1f GiB.",
            *(label, rows, longest, needed / GIB, max(0, room) / GIB),
        )
    return recomputed


def activation_bytes(config: Any, rows: int, longest: int, cpu: bool, bf16: bool) -> int:
    """Bytes kept from forward to backward without checkpointing, by a model of the Llama kind.

    What a configuration lacks counts as 0: an estimate must not stop a run.

    Args:
        config: The model's.
        rows: Sequences in memory at once.
        longest: Tokens of the longest of them.
        cpu: Whether it computes on the CPU, where all logits of a step are held.
        bf16: Whether it computes in bfloat16.
    """
    text = config.get_text_config(decoder=True)
    width = config_size(text, "hidden_size")
    inner = config_size(text, "intermediate_size") or 4 * width
    block = 4 * _BLOCK_WIDTHS * width + (2 if bf16 else 4) * _BLOCK_INNER * inner
    drops = cpu and getattr(text, "attention_dropout", 0)
    if drops or text._attn_implementation == "eager":
        block += 4 * _SPELLED_OUT * config_size(text, "num_attention_heads") * longest
    logits = 4 * config_size(text, "vocab_size") if cpu else 0
    return rows * longest * (config_size(text, "num_hidden_layers") * block + logits)


def _free(cpu: bool) -> int:
    """Bytes: of a GPU what is free, of the machine all that it has or its container may take."""
    if not cpu:
        return torch.cuda.mem_get_info()[0]
    return machine.memory()


def _to_come(model: Any) -> int:
    """Bytes that training adds to a device: gradients, moments, weights not there yet."""
    weights = list(model.parameters())
    absent = sum(one.nbytes for one in weights if one.device.type == "cpu")
    trained = sum(one.numel() for one in weights if one.requires_grad)
    return absent + _MOMENTS_AND_GRADIENT * trained
