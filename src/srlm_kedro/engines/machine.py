"""This machine's memory, GPUs and ports. Imports nothing heavy: the catalog reads it too."""

import os
import socket
from pathlib import Path

LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Files with a container's limit (bytes or "max"), for versions 2 and 1 of control groups."""
GPUS = Path("/proc/driver/nvidia/gpus")
"""The driver's folder with a folder for each GPU."""


def memory() -> int:
    """Bytes that the machine has, or the limit of its container if that is lower."""
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [path.read_text().strip() for path in LIMITS if path.is_file()]
    return min([held, *(int(one) for one in limits if one.isdigit())])


def gpus() -> dict[str, float | str]:
    """How many GPUs of NVIDIA this process may use, as `gpus`, and the name of one as `gpu`."""
    found = sorted(GPUS.glob("*/information"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        found = found[: len([one for one in visible.split(",") if one.strip()])]
    names = [line for file in found for line in file.read_text().splitlines() if "Model:" in line]
    return {
        "gpus": float(len(found)),
        "gpu": names[0].partition(":")[2].strip() if names else "",
    }


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at an address of this machine; "" stands for all of them."""
    with socket.socket() as one:
        one.bind((host, 0))
        return one.getsockname()[1]
