"""Programs that end with whoever started them."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from srlm_kedro.engines.guarded import GuardedProgram
from tests.torture.processes import children


def lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def soon(true) -> bool:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


@pytest.fixture
def running():
    """A program that would sleep, its guards from the first one, and its own number."""
    program = GuardedProgram([sys.executable, "-c", "import time; time.sleep(600)"])
    first = program.process.pid
    assert soon(lambda: children(first) and children(children(first)[0]))
    (second,) = children(first)
    (number,) = children(second)
    yield program, (first, second), number
    program.end()


@pytest.mark.parametrize("guard", [0, 1])
def test_the_death_of_a_guard_ends_the_program(running, guard):
    """Ray kills the direct children of an actor that it ends: the first guard."""
    _, guards, number = running
    os.kill(guards[guard], signal.SIGKILL)
    assert soon(lambda: not lives(number))
    assert soon(lambda: not any(map(lives, guards)))


def test_the_end_leaves_nothing(running):
    """Neither guard, nor the program."""
    program, guards, number = running
    program.end()
    assert not any(map(lives, (*guards, number)))


@pytest.mark.parametrize("status", [0, 7])
def test_the_status_is_the_programs(status):
    program = GuardedProgram([sys.executable, "-c", f"raise SystemExit({status})"])
    assert soon(lambda: program.status is not None)
    assert program.status == status
