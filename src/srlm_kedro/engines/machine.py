"""The memory and the GPUs of this machine. Imports nothing heavy: the catalog reads it too."""

import os
from pathlib import Path

LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Files with a container's limit (bytes or "max"), for versions 2 and 1 of control groups."""


def memory() -> int:
    """Bytes that the machine has, or the limit of its container if that is lower."""
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [path.read_text().strip() for path in LIMITS if path.is_file()]
    return min([held, *(int(one) for one in limits if one.isdigit())])


def gpus() -> dict[str, float | str]:
    """How many GPUs the machine has, as `gpus`, and the name of the first as `gpu`."""
    import torch  # takes seconds, and only estimates of several devices ask

    count = torch.cuda.device_count()
    return {"gpus": float(count), "gpu": torch.cuda.get_device_name(0) if count else ""}
