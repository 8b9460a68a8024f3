"""What the system says of its processor."""

import platform
from pathlib import Path


def cpuinfo() -> dict[str, str]:
    """The first processor's entries, where the system has such a file."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    entries = [line.partition(":") for line in reversed(lines)]
    return {key.strip(): value.strip() for key, _, value in entries}


def name() -> str:
    """Its model."""
    return cpuinfo().get("model name") or platform.processor() or platform.machine()
