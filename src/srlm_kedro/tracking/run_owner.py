"""Which command, process and data folder an MLflow run belongs to.

So the same command again continues its killed run, and a run that nobody writes any more is closed.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from srlm_kedro.freshness.digests import json_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

COMMAND = "srlm.command"
"""The tag that tells which command opened a run."""
PROCESS = "srlm.process"
"""The tag that tells which process writes a run."""
FOLDER = "srlm.folder"
"""The tag that tells which data folder a run belongs to."""

current_command: ContextVar[str] = ContextVar("current_command", default="")
"""The command at work, as `command_identity` names it; empty if nobody named it."""
locked_folder: ContextVar[str] = ContextVar("locked_folder", default="")
"""The id of the data folder that this process has locked; empty if it has none locked."""
made_before_tracking: ContextVar[frozenset[str]] = ContextVar(
    "made_before_tracking", default=frozenset()
)
"""Datasets that the command at work made before its MLflow run was opened."""

_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""The namespace of process ids outside of containers (Linux's PROC_PID_INIT_INO)."""
_TOLERANCE = 2.0
"""Seconds by which two readings of one process's start may differ."""
_UNKNOWN = (OSError, RuntimeError, ValueError)
"""What is raised, beside psutil's own errors, where a system does not tell when it started."""


@contextmanager
def command_at_work(command: str, folder: str) -> Iterator[None]:
    """Inside, the command is at work.

    Args:
        command: As `command_identity` names it.
        folder: The id of the data folder that this process has locked; empty if it could not.
    """
    values = {
        current_command: command,
        locked_folder: folder,
        made_before_tracking: frozenset(),
    }
    tokens = [(variable, variable.set(value)) for variable, value in values.items()]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def command_identity(**asked: Any) -> str:
    """A short name of all that was asked for: pipelines, environment, parameters, filters.

    Empty values do not count, whether they are None or an empty list.
    """
    given = {name: value for name, value in asked.items() if value}
    return json_digest(given, _plain)[:32]


def unfinished_run(client: "MlflowClient", experiment: str, command: str) -> str | None:
    """The id of the command's newest run if that was killed or stopped before its end."""
    if not command:
        return None
    filters = f"tags.`{COMMAND}` = '{command}'"
    newest = client.search_runs(
        [experiment], filters, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return next((run.info.run_id for run in newest if _was_stopped(run)), None)


def writer_tags() -> dict[str, str]:
    """The tags that name this process, and its data folder if it has locked one."""
    folder = locked_folder.get()
    return {PROCESS: this_process()} | ({FOLDER: folder} if folder else {})


def is_abandoned(tags: Mapping[str, str]) -> bool:
    """Whether the process that wrote the run with these tags has ended.

    That is known if the process ran on this host. It is also known if this process has locked the
    run's data folder, because the other process held the same lock, on whatever host.
    """
    process, folder = tags.get(PROCESS, ""), tags.get(FOLDER, "")
    if has_ended(process):
        return True
    return bool(folder) and folder == locked_folder.get() and process != this_process()


def this_process() -> str:
    """The host, the process id and the start in seconds since boot, as one word."""
    pid = os.getpid()
    return f"{_host()}:{pid}:{_own_start(pid)}"


def has_ended(process: str) -> bool:
    """Whether a process of this host, as `this_process` names it, has ended.

    False for processes of other hosts and containers, about which nothing is known here.
    """
    import psutil

    rest, _, start = process.rpartition(":")
    host, _, pid = rest.rpartition(":")
    if host != _host() or not pid.isdecimal():
        return False
    try:
        away = abs(_start(int(pid)) - float(start))
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, *_UNKNOWN):
        return False
    # An earlier version counted the start in ticks, as a whole number.
    return "." in start and away > _TOLERANCE


@cache
def _own_start(pid: int) -> str:
    """The start of this process, read once, so that its name never changes; empty if unknown."""
    import psutil

    try:
        return f"{_start(pid):.2f}"
    except (psutil.Error, *_UNKNOWN):
        return ""


def _start(pid: int) -> float:
    """When a process started, in seconds since boot: changes of the clock do not change it."""
    import psutil  # only runs that are recorded need it

    return psutil.Process(pid).create_time() - psutil.boot_time()


def _host() -> str:
    """The host's name; containers that share a name are told apart by their namespace."""
    namespace = _pid_namespace()
    name = socket.gethostname()
    return name if namespace in (None, _FIRST_PID_NAMESPACE) else f"{name}/{namespace}"


def _pid_namespace() -> int | None:
    """The namespace of process ids that this process is in; None if it is not Linux."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def _was_stopped(run: "Run") -> bool:
    """Whether a run was killed or stopped; a run whose process may still be at work was not."""
    if run.info.status == "RUNNING":
        return is_abandoned(run.data.tags)
    return run.info.status == "KILLED"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else list(value)
