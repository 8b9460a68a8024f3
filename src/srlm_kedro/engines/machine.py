"""The memory of this machine. Imports nothing heavy: the catalog reads it too."""

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
