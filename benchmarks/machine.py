"""The machine in words: what its figures depend on, and nothing that names it."""

import datetime
import platform

import torch
import transformers

from benchmarks import processor
from benchmarks.report import Cell
from benchmarks.rounds import Setting

_TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile", "sve", "bf16")
"""Instruction sets that decide what a matrix product costs."""


def describe(setting: Setting) -> dict[str, Cell]:
    """Processor, instruction sets, versions, threads and date."""
    said = processor.cpuinfo()
    flags = (said.get("flags") or said.get("Features") or "").split()
    return {
        "device": _device(setting.device),
        "processor": processor.name(),
        "cores": len(_affinity()),
        "instructions": " ".join(flag for flag in _TELLING if flag in flags),
        "threads": torch.get_num_threads(),
        "clock": "process CPU time" if setting.device == "cpu" else "wall time, synchronised",
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
        **({"quick": "tiny sizes, these figures say nothing"} if setting.quick else {}),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _device(name: str) -> str:
    return name if name == "cpu" else torch.cuda.get_device_name()


def _affinity() -> set[int]:
    import os

    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
