"""How a run ends early: SIGTERM and Ctrl-C end it within seconds, a full disk gives a message.

Worker processes end with the run, even if it is killed.
"""

import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import register_after_fork
from types import FrameType
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.display.commands import this_command
from srlm_kedro.freshness.hooks import UnsavedOutputs

_DEFAULT_HANDLERS = (signal.SIG_DFL, signal.default_int_handler)
"""Handlers that may be replaced: those of the system and of Python, and no others."""
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL_TEXTS = ("no space left on device", "disk quota exceeded", "database or disk is full")


class Terminated(KeyboardInterrupt):
    """SIGTERM: the process was asked to end."""


@contextmanager
def stoppable(*signals: int, grace: float | None = None) -> Iterator[None]:
    """Turns the signals into KeyboardInterrupt; the first signal kills worker processes too.

    It does so only in the main thread, and only for signals that nobody else handles.

    Args:
        signals: SIGTERM, SIGINT.
        grace: Seconds after which the process ends even if it has not cleaned up, for example
            because a thread cannot be interrupted. None: no limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signals}
    replaced = {number: one for number, one in before.items() if one in _DEFAULT_HANDLERS}
    stop = _StopHandler(tuple(replaced), grace)
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        stop.cancel_timer()
        for number, handler in replaced.items():
            signal.signal(number, handler)


class _StopHandler:
    """The signal handler; a process that was forked after its installation just exits."""

    def __init__(self, signals: tuple[int, ...], grace: float | None) -> None:
        self._signals = signals
        self._grace = grace
        self._owner = os.getpid()
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            os._exit(exit_status(number))
        for each in self._signals:
            signal.signal(each, signal.SIG_IGN)  # a second one would interrupt the cleaning up
        for child in multiprocessing.active_children():
            child.kill()
        if self._grace is not None:
            self._timer = threading.Timer(self._grace, _exit_at_once, [number])
            self._timer.daemon = True
            self._timer.start()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def cancel_timer(self) -> None:
        """The process has cleaned up in time; no limit applies from here."""
        if self._timer is not None:
            self._timer.cancel()


def stop_message(nodes: str = "") -> str:
    """The message of a run that was stopped while `nodes` were at work."""
    place = f" during {nodes}" if nodes else ""
    return f"Stopped{place}. Nothing is lost: the same command goes on from there: {this_command()}"


def _exit_at_once(number: int) -> None:
    os.write(2, f"{stop_message()}\n".encode())
    os._exit(exit_status(number))


def exit_status(number: int) -> int:
    """The exit status by which shells report a signal: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


class RunWatch:
    """Which nodes a run is at and which dataset it saves; a hook of that run."""

    def __init__(self) -> None:
        self.events: dict[str, Any] = {}
        """The arguments of Kedro's hooks at the start of the run; empty before it."""
        self.saving: str | None = None
        """The dataset that is being saved."""
        self._unsaved = UnsavedOutputs()

    @property
    def nodes(self) -> list[str]:
        """The nodes at work, including those whose outputs are being saved."""
        return list(self._unsaved.outputs)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Keeps the arguments."""
        self.events = {"run_params": run_params, "pipeline": pipeline, "catalog": catalog}

    @hook_impl(tryfirst=True)
    def before_node_run(self, node: Node) -> None:
        """A node starts."""
        self._unsaved.expect(node)

    @hook_impl(tryfirst=True)
    def before_dataset_saved(self, dataset_name: str) -> None:
        """An output is about to be written."""
        self.saving = dataset_name

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """The output is written; after the last one the node is done."""
        self.saving = None
        self._unsaved.saved(dataset_name, node)


def is_disk_full(error: BaseException) -> bool:
    """Whether the error, or one that caused it, says that the disk or the quota is full.

    Libraries, databases and worker processes pass on only the text of an error.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, OSError) and at.errno in _DISK_FULL:
            return True
        if any(text in str(at).lower() for text in _DISK_FULL_TEXTS):
            return True
        at = at.__cause__ or at.__context__
    return False


def _end_with_parent(_: object = None) -> None:
    """Ends a worker process as soon as the process that started it has ended.

    Otherwise `kill -9` of a run would leave its workers at work, or waiting for it forever.
    """
    if (parent := multiprocessing.parent_process()) is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)  # at any moment: its files are written completely or not at all

        threading.Thread(target=follow, name="follow", daemon=True).start()


# In every forked worker, idle ones too: each holds open the pipe by which earlier siblings notice
# that their parent has ended.
register_after_fork(_end_with_parent, _end_with_parent)
# A worker that was spawned imports this module when it is a worker already.
_end_with_parent()
