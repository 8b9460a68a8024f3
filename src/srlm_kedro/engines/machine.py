"""What this machine has. Imports nothing heavy."""

import os
from pathlib import Path

LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where a container's limit stands, in bytes or as "max", by the version of control groups."""


def memory() -> int:
    """Bytes that the machine has, or that its container may take."""
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [path.read_text().strip() for path in LIMITS if path.is_file()]
    return min([held, *(int(one) for one in limits if one.isdigit())])
