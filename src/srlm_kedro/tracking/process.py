"""Which process writes a run, for which data folder, so that a later one can tell it was killed."""

import os
import socket
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path

PROCESS = "srlm.process"
"""The tag that tells which process writes a run."""
FOLDER = "srlm.folder"
"""The tag that tells which data folder a run is of."""

held: ContextVar[str] = ContextVar("held", default="")
"""The data folder that this process holds for itself, by its mark; empty where nobody can."""

_FIRST_SPACE = 0xEFFFFFFC
"""The numbers of processes as a machine counts them, by Linux's name; a container counts anew."""


def this_process() -> str:
    """Host, process id and start, as one word."""
    return _name(os.getpid())


def is_left(tags: Mapping[str, str]) -> bool:
    """Whether nobody writes the run of these tags any more.

    Its process has ended, on this host; or this process holds its data folder, which the other one
    held as long as it lived, on whatever host.
    """
    process, folder = tags.get(PROCESS, ""), tags.get(FOLDER, "")
    if is_gone(process):
        return True
    return bool(folder) and folder == held.get() and process != this_process()


def writer() -> dict[str, str]:
    """The tags of this process."""
    return {PROCESS: this_process()} | ({FOLDER: held.get()} if held.get() else {})


def is_gone(process: str) -> bool:
    """Whether a process of this host, as `this_process` names it, has ended.

    False for processes of other hosts and containers: nobody here can know.
    """
    host, _, rest = process.rpartition(":")[0].rpartition(":")
    if host != _host() or not rest.isdecimal():
        return False
    return not _alive(int(rest)) or _name(int(rest)) != process


def _name(pid: int) -> str:
    return f"{_host()}:{pid}:{_start(pid)}"


def _host() -> str:
    """The host; of containers that share its name, each by itself."""
    space = _space()
    name = socket.gethostname()
    return name if space in (None, _FIRST_SPACE) else f"{name}/{space}"


def _space() -> int | None:
    """Which numbers of processes are seen here (Linux)."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


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
