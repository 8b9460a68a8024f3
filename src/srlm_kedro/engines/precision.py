"""Where a model computes, and in which floating-point type."""

import functools
import logging
import time

import torch

_log = logging.getLogger(__name__)
_SIDE, _TRIES = 256, 5
_SLOW = 1.5
"""Times as long as float32: what is said to be slow."""


def device_of(name: str) -> str:
    """The device of that name; `auto` is a GPU where there is one, else the CPU."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def chosen(name: str, device: str) -> torch.dtype:
    """The type of that name; `auto` is bfloat16 on a GPU made for it, and float32 elsewhere.

    Many CPUs have no instructions for bfloat16 and multiply its matrices ten times slower; on those
    that have them float32 takes about twice as long. float32 is never far from the best, and is
    exact. Where bfloat16 is slow and asked for, the log says so once.

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
        _say_if_slow(dtype)
    return dtype


@functools.cache
def _say_if_slow(dtype: torch.dtype) -> None:
    times = slowdown(dtype)
    if times > _SLOW:
        _log.warning(
            "%s takes %.0f times as long as float32 on this processor (measured on a product of "
            "matrices). Set the engines' dtype to auto or float32.",
            str(dtype).removeprefix("torch."),
            times,
        )


def slowdown(dtype: torch.dtype) -> float:
    """How many times as long as in float32 a product of matrices takes here, on the CPU."""
    return _seconds(dtype) / _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """The quickest of some tries, for others may use the processor too."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    tries = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        matrix @ matrix
        tries.append(time.perf_counter() - start)
    return min(tries)
