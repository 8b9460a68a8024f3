"""What drawing and training both ask about memory and about the sizes in a configuration."""

import gc
from typing import Any

import torch

GIB = 2**30


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine itself, refused to give more memory.

    PyTorch has no class of its own for a CPU's refusal.
    """
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def reclaim(cuda: bool) -> None:
    """Gives back what nothing refers to any more: models and trainers refer to themselves."""
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()


def largest(config: Any, name: str) -> int:
    """A number of a model's configuration, the largest where layers differ; 0 where it has none."""
    try:
        value = getattr(config, name, None) or 0
    except RuntimeError:  # transformers' answer where every layer has its own
        value = [getattr(one, name, None) or 0 for one in config.per_layer_config]
    return max(value) if isinstance(value, list | tuple) else value
