"""What a device computes per second. Correct this table where you measured yours."""

from dataclasses import dataclass, replace

_GIGA, _TERA = 1e9, 1e12


@dataclass(frozen=True)
class Device:
    """One device. The rates are those that this project's engines reach, not the maker's."""

    memory: float | None
    """GiB. None: the device is this machine, with the memory that it has."""
    prefill: float
    """FLOP/s in reading prompts."""
    decode: float
    """FLOP/s in sampling tokens; with small batches `bandwidth` is the limit."""
    bandwidth: float
    """Bytes/s in reading weights, keys and values for a sampling step."""
    training: float
    """FLOP/s in forward and backward passes."""
    draw_step: float
    """Seconds per sampling step, whatever the model."""
    training_step: float
    """Seconds per micro-batch, whatever the model."""
    source: str
    """`measured` or `assumed`, and from what."""


_PREFILL, _DECODE, _TRAINING, _BANDWIDTH = 0.5, 0.3, 0.4, 0.6
"""Shares of the maker's dense bfloat16 peak and memory rate that a plain loop reaches (assumed)."""


def _accelerator(memory: float, peak: float, bandwidth: float) -> Device:
    """A GPU of `memory` GiB, `peak` TFLOP/s and `bandwidth` GB/s, as its maker states them."""
    return Device(
        memory=memory,
        prefill=_PREFILL * peak * _TERA,
        decode=_DECODE * peak * _TERA,
        bandwidth=_BANDWIDTH * bandwidth * _GIGA,
        training=_TRAINING * peak * _TERA,
        draw_step=0.02,
        training_step=0.05,
        source=f"assumed: {_PREFILL:.0%} (prefill), {_TRAINING:.0%} (training) of the maker's "
        f"{peak:g} TFLOP/s, {_BANDWIDTH:.0%} of its {bandwidth:g} GB/s",
    )


_TWO_CORES = Device(
    memory=None,
    prefill=55 * _GIGA,
    decode=17.5 * _GIGA,
    bandwidth=10 * _GIGA,
    training=54 * _GIGA,
    draw_step=0.0,
    training_step=0.02,
    source="measured: the microworld's default run, two Zen 4 cores, float32",
)
_LARGER = replace(
    _TWO_CORES,
    prefill=110 * _GIGA,
    decode=54 * _GIGA,
    training=109 * _GIGA,
    source="measured: SmolLM2-135M (conf/smollm), two Zen 4 cores that others used too, float32",
)
_LARGER_FROM = 2**24
"""Parameters from which on matrix products, and not calls, take a CPU's time."""


def device_for(name: str, parameters: float) -> Device:
    """A device of the table; a CPU does more per second with a model that is not tiny."""
    device = DEVICES[name]
    return _LARGER if device is _TWO_CORES and parameters >= _LARGER_FROM else device


def device_named(gpu: str) -> str | None:
    """The entry of the table for a GPU as drivers and Ray call it; None if it has none."""
    name = gpu.lower()
    return next((known for word, known in _NAMES.items() if word in name), None)


_NAMES = {"h200": "h200", "h100": "h100_80gb", "a100": "a100_80gb"}
DEVICES = {
    "cpu": _TWO_CORES,
    "two_cpu_cores": _TWO_CORES,
    "a100_80gb": _accelerator(80, 312, 2039),
    "h100_80gb": _accelerator(80, 989, 3350),
    "h200": _accelerator(141, 989, 4800),
}
