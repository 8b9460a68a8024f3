"""What a device does in a second: the table to review, and to correct where yours was measured."""

from dataclasses import dataclass

_GIGA, _TERA = 1e9, 1e12


@dataclass(frozen=True)
class Device:
    """One device; rates are what this project's engines get out of it, not what its maker says."""

    memory: float | None
    """GiB; None: it is the machine itself, of which there is one, with what memory it has."""
    prefill: float
    """FLOP/s while prompts are read."""
    decode: float
    """FLOP/s while tokens are drawn; at small batches `bandwidth` is the limit."""
    bandwidth: float
    """Bytes/s at which weights, keys and values are read for a step of drawing."""
    training: float
    """FLOP/s in forward and backward passes."""
    draw_step: float
    """Seconds that a step of drawing costs whatever the model."""
    training_step: float
    """Seconds that a micro-batch costs whatever the model."""
    source: str
    """`measured` or `assumed`, and from what."""


_PREFILL, _DECODE, _TRAINING, _BANDWIDTH = 0.5, 0.3, 0.4, 0.6
"""Assumed shares of the maker's dense bfloat16 peak and memory rate that a plain loop reaches."""


def _accelerator(memory: float, peak: float, bandwidth: float) -> Device:
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


DEVICES = {
    "two_cpu_cores": Device(
        memory=None,
        prefill=55 * _GIGA,
        decode=17.5 * _GIGA,
        bandwidth=10 * _GIGA,
        training=54 * _GIGA,
        draw_step=0.0,
        training_step=0.02,
        source="measured: the microworld's default run, two Zen 4 cores, float32",
    ),
    "a100_80gb": _accelerator(80, 312, 2039),
    "h100_80gb": _accelerator(80, 989, 3350),
    "h200": _accelerator(141, 989, 4800),
}
