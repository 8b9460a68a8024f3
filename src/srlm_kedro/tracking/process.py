"""Which process writes a run, so that a later one can tell that it was killed."""

import os
import socket
from pathlib import Path

PROCESS = "srlm.process"
"""The tag that tells which process writes a run."""


def this_process() -> str:
    """Host, process id and start, as one word."""
    return _name(os.getpid())


def is_gone(process: str) -> bool:
    """Whether a process of this host, as `this_process` names it, has ended.

    False for processes of other hosts: nobody here can know.
    """
    host, _, rest = process.rpartition(":")[0].rpartition(":")
    if host != socket.gethostname() or not rest.isdecimal():
        return False
    return not _alive(int(rest)) or _name(int(rest)) != process


def _name(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{_start(pid)}"


def _start(pid: int) -> str:
    """Ticks since boot at which it started (Linux), so that a reused id is told apart."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
