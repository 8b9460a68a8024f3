"""Worker processes of a run: they end with it, however it ends."""

import os
import signal
import time
from contextlib import suppress

import pytest
from kedro.runner import ParallelRunner

from tests.integration.test_lost_and_found import contents, relative

PARALLEL = ("--pipeline=foundation", "--runner=ParallelRunner")


@pytest.fixture
def killed(project):
    """A run with workers that is killed while one of them draws; nobody tells the workers."""
    mark = project.halt(at=1, how="wait")
    run = project.start(*PARALLEL, process_group=0)
    while not mark.exists() and run.poll() is None:
        time.sleep(0.05)
    assert run.poll() is None, run.communicate()[1]
    run.kill()
    yield run
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)


def test_workers_of_a_killed_run_end_and_the_same_command_goes_on(project, killed):
    """At work, idle or serving others; what comes out is that of a run that nobody disturbed."""
    killed.communicate(timeout=30)  # ends once nobody has its output open: they would wait 60 s
    project.run("foundation", runner=ParallelRunner())
    project.run("foundation", params={"data": "data/other"})
    made = relative(contents(project), project.path / "data")
    assert made == relative(contents(project, "data/other"), project.path / "data/other")
