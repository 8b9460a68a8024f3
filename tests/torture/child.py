"""One run in a process that may die at any moment."""

import os
import signal
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from kedro.framework.hooks import hook_impl
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project
from kedro.pipeline.node import Node

import srlm_kedro.freshness.hooks

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.link")
_FSYNC = os.fsync


class Teller:
    """A hook that tells each node's start, and a killer at one of its writing calls."""

    def __init__(self, pipe: int, data: Path, writes: dict[str, int]) -> None:
        self._pipe, self._data, self._writes = pipe, str(data), writes
        self._node, self._count = "", 0

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """The node begins."""
        self._node, self._count = node.name, 0
        os.write(self._pipe, f"{node.name}\n".encode())

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: counts what opens for writing, moves or removes below the data folder."""
        if self._is_writing(event, arguments):
            self._at_writing_call()

    def fsync(self, opened: int) -> None:
        """`os.fsync`, which no audit hook sees: counted like the others."""
        self._at_writing_call()
        _FSYNC(opened)

    def _at_writing_call(self) -> None:
        """Dies before the chosen one."""
        self._count += 1
        if self._writes.get(self._node) == self._count:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_writing(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and bool(flags & _WRITING)
        else:
            path, writes = (arguments or (None,))[0], event in _CHANGES
        if not writes or not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self._data)


def run_and_tell(folder: Path, env: str, pipe: int, writes: dict[str, int]) -> NoReturn:
    """Runs `kedro run` in this process and ends it: status 0 when it came to its end."""
    status = 1
    try:
        os.setsid()
        log = os.open(folder / "run.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        # Times would differ from run to run, and tables tell them.
        srlm_kedro.freshness.hooks.time = SimpleNamespace(perf_counter=lambda: 0.0)
        teller = Teller(pipe, folder / "data", writes)
        sys.addaudithook(teller.audit)
        os.fsync = teller.fsync
        bootstrap_project(folder)
        settings.set("HOOKS", (*settings.HOOKS, teller))
        with settings.SESSION_CLASS.create(folder, env=env, runtime_params={}) as session:
            session.run()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
