"""A start with nothing to do: what it loads, and what is loaded later all the same."""

import json
import os
import socket
import subprocess
import sys

import mlflow
import pytest

from srlm_kedro.running.data_folder import RunNote
from tests.integration.conftest import ROOT
from tests.integration.test_ends import all_runs, points, statuses, tracked

HEAVY = {
    *("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers"),
    *("mlflow", "kedro_mlflow", "alembic", "great_expectations", "plotly", "matplotlib"),
    *("sklearn", "scipy", "requests", "kedro_telemetry", "kedro_viz.integrations"),
}
KEDRO = """
import atexit, json, sys
atexit.register(lambda: print("\\n" + json.dumps(list(sys.modules))))
from kedro.framework.cli.cli import main
sys.argv[0] = "kedro"
main()
"""


def kedro(project, *arguments):
    """What a command line says, and the modules that it has loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", KEDRO, *arguments],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said, _, loaded = done.stdout.strip().rpartition("\n")
    return said, set(json.loads(loaded))


@pytest.mark.parametrize("arguments", [(), ("--pipeline=status",)], ids=["run", "status"])
def test_a_start_with_nothing_to_do_loads_nothing_heavy(done, arguments):
    """No model library, no MLflow, nothing that draws, checks or calls."""
    said, loaded = kedro(done, "run", "--env=test", *arguments)
    assert ("M3" in said) or ("A run has nothing to do." in said)
    assert not HEAVY & loaded


def test_commands_that_are_put_off_work(project):
    """`kedro mlflow` is kedro-mlflow's, with all that it has."""
    said, loaded = kedro(project, "mlflow", "ui", "--help")
    assert "--port" in said
    assert "mlflow" in loaded


def test_the_context_has_mlflows_configuration_when_somebody_asks(project):
    """As kedro-mlflow gives it: its commands and notebooks read it."""
    with project.session() as session:
        server = session.load_context().mlflow.server
    assert server.mlflow_tracking_uri == f"sqlite:///{project.path}/mlruns/mlflow.db"
    assert mlflow.get_tracking_uri() == server.mlflow_tracking_uri


class Kill(BaseException):
    """As `kill -9`: nobody cleans up."""


def test_a_run_that_was_killed_at_its_very_end_is_closed_by_the_next(project, monkeypatch):
    """Nothing is left to make, but MLflow still waits; afterwards nobody asks it again."""

    def killed(*_):
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.end_run", killed)
        with pytest.raises(Kill):
            project.run("foundation")
    mlflow.tracking.fluent._active_run_stack.get().clear()
    for run in all_runs(project):  # the process is gone
        tracked(project).set_tag(run.info.run_id, "srlm.process", f"{socket.gethostname()}:1:1")
    assert statuses(project) == {"RUNNING", "FINISHED"}
    before = points(project)
    project.run("foundation")
    assert statuses(project) == {"FINISHED"}
    assert points(project) == before
    assert not list((project.path / "data").glob(".open"))


def test_a_note_is_left_until_a_command_has_ended(tmp_path):
    """By command: another one's end says nothing of it."""
    note, other = RunNote(tmp_path / "data", "c0ffee"), RunNote(tmp_path / "data", "beef")
    assert not note.is_left
    note.leave()
    other.leave()
    other.remove()
    assert note.is_left
    assert not other.is_left
    note.remove()
    assert list((tmp_path / "data").iterdir()) == []
