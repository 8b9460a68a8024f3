"""Signals end a run by an exception; a full disk is told apart from other errors."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from kedro.io import DatasetError
from kedro.pipeline import Node

from srlm_kedro.running.stopping import RunWatch, Terminated, is_disk_full, stoppable

HANGS = """
import os, signal, time
from srlm_kedro.running.stopping import stoppable
with stoppable(signal.SIGTERM, grace=0.2):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(60)
"""


@pytest.fixture(autouse=True)
def handlers():
    """Sets Python's default handlers; a background process would ignore Ctrl-C."""
    defaults = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, default) for number, default in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt(number):
    os.kill(os.getpid(), number)
    time.sleep(60)  # the handler runs before this is over


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_interrupts_and_its_handler_is_put_back(number, kind):
    """SIGTERM can be told from Ctrl-C."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as stop, stoppable(number):
        interrupt(number)
    assert stop.type is kind
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_break_into_the_cleaning_up():
    """Only the first one counts."""
    with stoppable(signal.SIGTERM, signal.SIGINT):
        with pytest.raises(Terminated):
            interrupt(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_of_others_are_let_be():
    """The handler of the command line or of a server does the stopping."""
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append("theirs"))
    with stoppable(signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == ["theirs"]


def test_outside_the_main_thread_nothing_is_installed():
    """Python lets only the main thread set handlers."""
    seen = []

    def work():
        with stoppable(signal.SIGTERM):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_worker_processes_end_with_the_run():
    """Their work is not waited for."""
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    worker.start()
    with pytest.raises(Terminated), stoppable(signal.SIGTERM):
        interrupt(signal.SIGTERM)
    worker.join()
    assert worker.exitcode == -signal.SIGKILL


def test_what_does_not_end_by_itself_is_ended():
    """It ends after the grace time with the signal's status, and says that nothing is lost."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 143
    assert "Nothing is lost" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_is_at_work_until_its_last_output_is_saved():
    """A message can then say where the run was."""
    watch = RunWatch()
    node = Node(lambda x: (x, x), "x", ["a", "b"], name="two")
    watch.before_node_run(node)
    watch.before_dataset_saved("a")
    watch.after_dataset_saved("a", node)
    watch.before_dataset_saved("b")
    assert (watch.nodes, watch.saving) == (["two"], "b")
    watch.after_dataset_saved("b", node)
    assert (watch.nodes, watch.saving) == ([], None)


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (caused(DatasetError("Failed while saving"), OSError(errno.EDQUOT, "quota")), True),
        (DatasetError("Failed: [Errno 28] No space left on device"), True),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (caused(DatasetError("Failed while saving"), ValueError("no column")), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error, full):
    """However the error is wrapped; worker processes pass on only its text."""
    assert is_disk_full(error) is full
