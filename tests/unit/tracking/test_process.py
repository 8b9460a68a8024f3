"""Whether somebody still writes a run."""

import os
import subprocess
import sys

import pytest

from srlm_kedro.tracking import process
from srlm_kedro.tracking.process import FOLDER, PROCESS, held, is_gone, is_left, this_process


@pytest.fixture
def dead():
    """The name of a process of this host that has ended."""
    code = "from srlm_kedro.tracking.process import this_process; print(this_process())"
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
    """This process holds a data folder."""
    token = held.set("mark-1")
    yield
    held.reset(token)


def test_a_process_of_this_host_is_known_to_be_gone(dead):
    """Or to be at work; a word that is no name says nothing."""
    assert is_gone(dead)
    assert not is_gone(this_process())
    assert not is_gone("")


@pytest.mark.parametrize("where", ["host", "container"])
def test_nobody_knows_of_another_host_or_of_another_container_of_the_same_name(
    dead, where, monkeypatch
):
    """A container counts its processes anew: a number that is not here says nothing."""
    if where == "host":
        monkeypatch.setattr(process.socket, "gethostname", lambda: "another")
    else:
        monkeypatch.setattr(process, "_space", lambda: 4026540000)
    assert not is_gone(dead)
    assert not is_left({PROCESS: dead})


@pytest.mark.usefixtures("_holding")
def test_who_holds_the_data_folder_knows_that_nobody_else_writes():
    """Of that folder's runs alone, and not of its own."""
    elsewhere = "another-host:1:1"
    assert is_left({PROCESS: elsewhere, FOLDER: "mark-1"})
    assert not is_left({PROCESS: elsewhere, FOLDER: "mark-2"})
    assert not is_left({PROCESS: elsewhere})
    assert not is_left({PROCESS: this_process(), FOLDER: "mark-1"})


def test_who_holds_nothing_for_sure_knows_nothing():
    """As on a file system without locks."""
    assert not is_left({PROCESS: "another-host:1:1", FOLDER: ""})
    assert not is_left({PROCESS: "another-host:1:1", FOLDER: "mark-1"})
