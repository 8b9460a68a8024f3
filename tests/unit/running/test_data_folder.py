"""Only one run at a time uses a data folder; folders that cannot be written are known before."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from srlm_kedro.errors import InputError
from srlm_kedro.running.data_folder import folder_id, one_run_at_a_time
from srlm_kedro.running.readiness import write_faults

HOLDER = """
import sys, time
from pathlib import Path
from srlm_kedro.running.data_folder import one_run_at_a_time
with one_run_at_a_time(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


FORKS = """
import os, sys, time
from pathlib import Path
from srlm_kedro.running.data_folder import one_run_at_a_time
with one_run_at_a_time(Path(sys.argv[1])):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def holding(folder, script):
    """A process that runs the script, and the first line that it prints with the folder locked."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )
    return process, process.stdout.readline().strip()


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked the folder `data`."""
    process, said = holding(tmp_path / "data", HOLDER)
    assert said == "held"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_and_told_who_holds_the_folder(tmp_path, holder):
    """The refusal names the holder's process, host and command; another folder is free."""
    with pytest.raises(InputError) as refusal, one_run_at_a_time(tmp_path / "data"):
        pass
    said = str(refusal.value)
    assert f"process {holder.pid} on {socket.gethostname()}" in said
    assert "--params=data=OTHER" in said
    with one_run_at_a_time(tmp_path / "other"):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    """The system releases the lock when the process ends."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with one_run_at_a_time(tmp_path / "data"):
        assert (tmp_path / "data/.run.lock").read_text().startswith(f"process {os.getpid()} ")


def test_runs_one_after_the_other_leave_nothing_behind(tmp_path):
    """Not even after an error; a folder that was made only for the lock is removed too."""
    folder = tmp_path / "data"
    with pytest.raises(RuntimeError), one_run_at_a_time(folder):
        raise RuntimeError
    assert not folder.exists()
    folder.mkdir()
    for _ in range(2):
        with one_run_at_a_time(folder):
            assert list(folder.iterdir())
    assert not list(folder.iterdir())


def test_two_sessions_of_one_process_do_not_share_a_folder(tmp_path):
    """Two threads of a notebook are two runs too."""
    with (
        one_run_at_a_time(tmp_path),
        pytest.raises(InputError, match="at work here already"),
        one_run_at_a_time(tmp_path),
    ):
        pass


def test_a_worker_that_outlives_its_run_does_not_hold_the_folder(tmp_path):
    """A forked worker has its parent's files open, except the lock."""
    process, worker = holding(tmp_path, FORKS)
    process.kill()
    process.wait()
    try:
        with one_run_at_a_time(tmp_path):
            os.kill(int(worker), 0)
    finally:
        os.kill(int(worker), signal.SIGKILL)
        process.stdout.close()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    """The message names the folder and says what to do."""
    (tmp_path / "data").write_text("a file")
    with (
        pytest.raises(InputError, match=r"nothing can be written.*--params=data=OTHER"),
        one_run_at_a_time(tmp_path / "data"),
    ):
        pass


def test_folders_of_outputs_that_cannot_be_written_are_all_named(tmp_path, monkeypatch):
    """Each folder has a line with its outputs; a missing folder's nearest parent is checked."""
    (tmp_path / "models").write_text("a file")
    closed = tmp_path / "closed"
    closed.mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed and allowed(path, mode))
    outputs = {
        "m1.model": tmp_path / "models/m1",
        "m2.model": tmp_path / "models/m2",
        "report": closed / "new/report.html",
        "pairs": tmp_path / "deep/down/pairs.parquet",
    }
    faults = write_faults(outputs)
    assert len(faults) == 2
    assert str(tmp_path / "models") in faults[0]
    assert "m1.model, m2.model" in faults[0]
    assert str(closed) in faults[1]
    assert not (tmp_path / "deep").exists()


def test_a_folder_that_was_moved_keeps_its_mark_and_a_copy_has_another(tmp_path):
    """The path of the folder does not matter."""
    folder, moved, copy = tmp_path / "data", tmp_path / "moved", tmp_path / "copy"
    mark = folder_id(folder)
    assert folder_id(folder) == mark
    (tmp_path / "link").symlink_to(folder)
    assert folder_id(tmp_path / "link") == mark
    folder.rename(moved)
    assert folder_id(moved) == mark
    shutil.copytree(moved, copy)
    assert folder_id(copy) != mark
    assert folder_id(folder) != mark


def test_a_file_system_without_locks_is_not_held_for_sure(tmp_path, monkeypatch):
    """The run goes on with a warning, and does not count as locked."""

    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with one_run_at_a_time(tmp_path) as sure:
        assert sure
    monkeypatch.setattr("fcntl.flock", none)
    with one_run_at_a_time(tmp_path) as sure:
        assert not sure
