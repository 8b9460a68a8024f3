"""Whether the process that writes a run has ended."""

import os
import subprocess
import sys

import psutil
import pytest

from srlm_kedro.tracking import run_owner
from srlm_kedro.tracking.run_owner import (
    FOLDER,
    PROCESS,
    has_ended,
    is_abandoned,
    locked_folder,
    this_process,
)


@pytest.fixture
def dead():
    """The name of a process of this host that has ended."""
    code = "from srlm_kedro.tracking.run_owner import this_process; print(this_process())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def _holding():
    """This process has locked a data folder."""
    token = locked_folder.set("mark-1")
    yield
    locked_folder.reset(token)


def test_a_process_of_this_host_is_known_to_be_gone(dead):
    """A process at work is known too; a word that is no name says nothing."""
    assert has_ended(dead)
    assert not has_ended(this_process())
    assert not has_ended("")


@pytest.mark.parametrize("where", ["host", "container"])
def test_nobody_knows_of_another_host_or_of_another_container_of_the_same_name(
    dead, where, monkeypatch
):
    """A container has its own process ids, so an id that is unknown here says nothing."""
    if where == "host":
        monkeypatch.setattr(run_owner.socket, "gethostname", lambda: "another")
    else:
        monkeypatch.setattr(run_owner, "_pid_namespace", lambda: 4026540000)
    assert not has_ended(dead)
    assert not is_abandoned({PROCESS: dead})


@pytest.mark.usefixtures("_holding")
def test_who_holds_the_data_folder_knows_that_nobody_else_writes():
    """This holds only for runs of that folder, and not for the process's own run."""
    elsewhere = "another-host:1:1"
    assert is_abandoned({PROCESS: elsewhere, FOLDER: "mark-1"})
    assert not is_abandoned({PROCESS: elsewhere, FOLDER: "mark-2"})
    assert not is_abandoned({PROCESS: elsewhere})
    assert not is_abandoned({PROCESS: this_process(), FOLDER: "mark-1"})


def test_who_holds_nothing_for_sure_knows_nothing():
    """A file system without locks is such a case."""
    assert not is_abandoned({PROCESS: "another-host:1:1", FOLDER: ""})
    assert not is_abandoned({PROCESS: "another-host:1:1", FOLDER: "mark-1"})


def test_a_process_that_reuses_an_id_is_another_process():
    """The start tells them apart, to within two seconds."""
    place, _, start = this_process().rpartition(":")
    assert has_ended(f"{place}:{float(start) - 60:.2f}")
    assert not has_ended(f"{place}:{float(start) + 1:.2f}")


def test_a_start_that_nobody_tells_is_no_end(monkeypatch):
    """Neither where the system keeps it to itself, nor in the ticks of an earlier version."""
    place, _, _ = this_process().rpartition(":")
    assert not has_ended(f"{place}:3069481")
    run_owner._own_start.cache_clear()
    monkeypatch.setattr(psutil, "boot_time", _refuse)
    assert this_process() == f"{place}:"
    assert not has_ended(f"{place}:10.25")
    run_owner._own_start.cache_clear()


def _refuse():
    raise PermissionError("/proc/stat")
