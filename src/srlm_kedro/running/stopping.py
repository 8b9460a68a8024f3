"""How a run ends early: SIGTERM and Ctrl-C within seconds, a full disk as a message.

Its worker processes end with it, however it ends.
"""

import errno
import multiprocessing
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import register_after_fork
from pathlib import Path
from types import FrameType
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.unsaved import Unsaved

_OURS = (signal.SIG_DFL, signal.default_int_handler)
"""Handlers that may be replaced: the system's and Python's, but nobody else's."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAYS_FULL = ("no space left on device", "disk quota exceeded", "database or disk is full")


class Terminated(KeyboardInterrupt):
    """SIGTERM: the process was asked to end."""


@contextmanager
def stoppable(*signals: int, patience: float | None = None) -> Iterator[None]:
    """Turns the signals into KeyboardInterrupt; the first ends worker processes too.

    Only in the main thread, where signals arrive, and only those that nobody else handles.

    Args:
        signals: SIGTERM, SIGINT.
        patience: Seconds after which the process ends, cleaned up or not (threads that cannot be
            interrupted are waited for); None: however long that takes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signals}
    replaced = {number: handler for number, handler in before.items() if handler in _OURS}
    stop = _Stop(tuple(replaced), patience)
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        stop.relax()
        for number, handler in replaced.items():
            signal.signal(number, handler)


class _Stop:
    """The handler; what it was set up in counts, not what was forked from that."""

    def __init__(self, signals: tuple[int, ...], patience: float | None) -> None:
        self._signals = signals
        self._patience = patience
        self._owner = os.getpid()
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            os._exit(exit_status(number))
        for each in self._signals:
            signal.signal(each, signal.SIG_IGN)  # a second one would break into the cleaning up
        for child in multiprocessing.active_children():
            child.kill()
        if self._patience is not None:
            self._timer = threading.Timer(self._patience, _end_late, [number])
            self._timer.daemon = True
            self._timer.start()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def relax(self) -> None:
        """Those who have cleaned up in time may take their time from here."""
        if self._timer is not None:
            self._timer.cancel()


def this_command() -> str:
    """The command of this process, to be typed again."""
    script = Path(sys.argv[0])
    name = script.parent.name if script.name == "__main__.py" else script.name
    return f"{name} {shlex.join(sys.argv[1:])}"


def farewell(nodes: str = "") -> str:
    """What is said of a run that was stopped while `nodes` were at work."""
    place = f" during {nodes}" if nodes else ""
    return f"Stopped{place}. Nothing is lost: the same command goes on from there: {this_command()}"


def _end_late(number: int) -> None:
    os.write(2, f"{farewell()}\n".encode())
    os._exit(exit_status(number))


def exit_status(number: int) -> int:
    """As shells tell it: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


class RunWatch:
    """What one run is at; Kedro tells it, as a hook of that run."""

    def __init__(self) -> None:
        self.events: dict[str, Any] = {}
        """What Kedro's hooks are told at the start and at the end; empty before the start."""
        self.saving: str | None = None
        """The dataset that is being saved."""
        self._unsaved = Unsaved()

    @property
    def nodes(self) -> list[str]:
        """The nodes at work, those whose outputs are being saved among them."""
        return list(self._unsaved.outputs)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Keeps what the run was started with."""
        self.events = {"run_params": run_params, "pipeline": pipeline, "catalog": catalog}

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node) -> None:
        """A node starts."""
        self._unsaved.expect(node)

    @hook_impl(tryfirst=True)
    def before_dataset_saved(self, dataset_name: str) -> None:
        """One of its outputs is about to be written."""
        self.saving = dataset_name

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """The output is written; with the last one the node is done."""
        self.saving = None
        self._unsaved.saved(dataset_name, node)


def is_full_disk(error: BaseException) -> bool:
    """Whether the error, or one that it comes from, is a disk or a quota that is full.

    Libraries, databases and worker processes hand on the words alone.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.errno in _FULL:
            return True
        if any(words in str(at).lower() for words in _SAYS_FULL):
            return True
        at = at.__cause__ or at.__context__
    return False


def _end_with_parent(_: object = None) -> None:
    """In a worker process: it ends as soon as who started it has.

    Else `kill -9` of a run would leave its workers at work, or waiting for it for ever.
    """
    if (parent := multiprocessing.parent_process()) is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)  # where it stands: what it writes is whole or not there

        threading.Thread(target=follow, name="follow", daemon=True).start()


# Every forked one, those without work too: each holds open what tells its elder siblings.
register_after_fork(_end_with_parent, _end_with_parent)
# One that was not forked imports this once it is a worker already.
_end_with_parent()
