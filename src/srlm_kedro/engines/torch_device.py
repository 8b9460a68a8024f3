"""Devices: which one computes, in which floating-point type, and whether its memory is full."""

import ctypes
import functools
import gc
import logging
import os
import time

import torch

GIB = 2**30
_log = logging.getLogger(__name__)
_SIDE, _TRIES = 256, 5
"""The measured product of matrices: their side, and how often it is computed."""
_SLOW = 1.5
"""From this many times the duration of float32 on, the log says that a type is slow."""


def device_of(name: str) -> str:
    """The device of that name; `auto` is a GPU if there is one, else the CPU."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype_of(name: str, device: str) -> torch.dtype:
    """The type of that name; `auto` is bfloat16 on a GPU made for it, and float32 elsewhere.

    Many CPUs have no instructions for bfloat16 and multiply its matrices ten times slower. On
    those that have them, float32 takes about twice as long. So float32 is never far from the best,
    and it is exact. The log says once if bfloat16 was asked for and is slow.

    Args:
        name: `auto`, or a type of torch: `float32`, `bfloat16`, `float16`.
        device: `cpu`, `cuda`, `cuda:1`, ...
    """
    on_cpu = device.startswith("cpu")
    if name == "auto":
        made_for_it = not on_cpu and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if made_for_it else torch.float32
    dtype = getattr(torch, name)
    if on_cpu and dtype != torch.float32:
        _warn_if_slow(dtype)
    return dtype


def slowdown(dtype: torch.dtype) -> float:
    """How many times as long as in float32 a product of matrices takes on this CPU."""
    return _seconds(dtype) / _seconds(torch.float32)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine itself, refused to give more memory.

    PyTorch has no exception class for a CPU's refusal.
    """
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def free_unused_memory(cuda: bool) -> None:
    """Frees what nothing else refers to: models and trainers refer to themselves.

    A GPU's cache and the free memory of this process go back to the driver and to the system. glibc
    alone would keep what training has freed, several GiB beside what the next stage takes.
    """
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    give_back_heap()


def give_back_heap() -> None:
    """Gives the pages that this process has freed in the machine's memory back to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # not every C library has it
        trim(0)


@functools.cache
def _warn_if_slow(dtype: torch.dtype) -> None:
    times = slowdown(dtype)
    if times > _SLOW:
        _log.warning(
            "%s takes %.0f times as long as float32 on this processor (measured on a product of "
            "matrices). Set the engines' dtype to auto or float32.",
            str(dtype).removeprefix("torch."),
            times,
        )


def _seconds(dtype: torch.dtype) -> float:
    """The quickest of several tries: other programs may use the processor too."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    tries = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        matrix @ matrix
        tries.append(time.perf_counter() - start)
    return min(tries)
