"""Whether the activations of a step fit the device, or must be computed twice."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from srlm_kedro.engines import machine
from srlm_kedro.engines.torch_device import GIB
from srlm_kedro.engines.training.trl.policy import TrainingOptions
from srlm_kedro.engines.weights import config_size

_log = logging.getLogger(__name__)
_USABLE_SHARE = 0.8
"""The share of the memory that can be used; the rest is for buffers and fragments."""
_OPTIMIZER_BYTES = 12
"""Bytes per trained weight for its gradient and moments, without the weight itself."""
_BLOCK_WIDTHS, _BLOCK_INNER = 12, 4
"""Values that a Llama block keeps per token, in widths of the model (norms and residuals stay in
float32) and in widths of the feed-forward block. Measured: 10.6 and 4."""
_ATTENTION_COPIES = 3
"""Copies of the attention weights, if the attention kernel keeps them."""


def must_recompute(
    label: str, models: Iterable[Any], rows: int, longest: int, setup: TrainingOptions
) -> bool:
    """Whether a micro-batch's activations do not fit next to everything else on the device.

    Args:
        label: What is trained, for the log.
        models: The trained model first, then the others that the trainer holds.
        rows: Sequences in memory at once.
        longest: Tokens of the longest sequence.
        setup: The engine's options.
    """
    trained, *_ = models = [one for one in models if one is not None]
    needed = activation_bytes(trained.config, rows, longest, setup.cpu, setup.bf16)
    room = _USABLE_SHARE * _free_memory(setup) - sum(map(_still_needed, models))
    recomputed = needed > room
    if recomputed:
        _log.info(
            "%s: activations are computed twice: for %d rows of up to %d tokens they need %.1f "
            "GiB, and there is room for %.1f GiB.",
            *(label, rows, longest, needed / GIB, max(0, room) / GIB),
        )
    return recomputed


def activation_bytes(config: Any, rows: int, longest: int, cpu: bool, bf16: bool) -> int:
    """Bytes that a Llama-like model keeps from forward to backward without checkpointing.

    A value that the configuration lacks counts as 0: an estimate must not stop a run.

    Args:
        config: The model's configuration.
        rows: Sequences in memory at once.
        longest: Tokens of the longest sequence.
        cpu: Whether the model is on the CPU, where all logits of a step are kept.
        bf16: Whether the model computes in bfloat16.
    """
    text = config.get_text_config(decoder=True)
    width = config_size(text, "hidden_size")
    inner = config_size(text, "intermediate_size") or 4 * width
    block = 4 * _BLOCK_WIDTHS * width + (2 if bf16 else 4) * _BLOCK_INNER * inner
    drops = cpu and getattr(text, "attention_dropout", 0)
    if drops or text._attn_implementation == "eager":
        block += 4 * _ATTENTION_COPIES * config_size(text, "num_attention_heads") * longest
    logits = 4 * config_size(text, "vocab_size") if cpu else 0
    return rows * longest * (config_size(text, "num_hidden_layers") * block + logits)


def _free_memory(setup: TrainingOptions) -> int:
    """Bytes: the free memory of the GPU, or this rank's share of the machine's or container's."""
    if not setup.cpu:
        return torch.cuda.mem_get_info()[0]
    return machine.memory() // setup.ranks.here


def _still_needed(model: Any) -> int:
    """Bytes that training still needs on the device: gradients, moments and unmoved weights.

    Of sharded weights, a rank needs those of its part.
    """
    weights = [one.to_local() if isinstance(one, DTensor) else one for one in model.parameters()]
    absent = sum(one.nbytes for one in weights if one.device.type == "cpu")
    trained = sum(one.numel() for one in weights if one.requires_grad)
    return absent + _OPTIMIZER_BYTES * trained
