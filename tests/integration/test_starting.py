"""A start with nothing to do loads little; the rest is loaded when it is used."""

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
    """The output of a command, and the modules that it has loaded at its end."""
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
    """No model library, no MLflow, no Great Expectations, no HTTP client."""
    said, loaded = kedro(done, "run", "--env=test", *arguments)
    assert ("M3" in said) or ("A run has nothing to do." in said)
    assert not HEAVY & loaded


@pytest.mark.parametrize("pipeline", ["status", "accept"])
def test_a_table_of_what_a_run_would_make_converts_no_model(project, capsys, pipeline):
    """With a GGUF file as M0, which a run would turn into a folder several times as large."""
    gguf_files = pytest.importorskip("tests.gguf_files", exc_type=ImportError)
    file = gguf_files.write_gguf(project.path / "tiny.gguf", "Q8_0")
    project.run(pipeline, env="smollm", params={"model": str(file)})
    said = capsys.readouterr().out
    assert ("train_sft" in said) or ("Nothing to accept" in said)
    assert list(project.path.rglob("*.safetensors")) == list(
        (project.path / "data/01_raw").rglob("*.safetensors")
    )


def test_commands_that_are_put_off_work(project):
    """`kedro mlflow` has all commands of kedro-mlflow."""
    said, loaded = kedro(project, "mlflow", "ui", "--help")
    assert "--port" in said
    assert "mlflow" in loaded


def test_the_context_has_mlflows_configuration_when_somebody_asks(project):
    """Commands and notebooks of kedro-mlflow read it."""
    with project.session() as session:
        server = session.load_context().mlflow.server
    assert server.mlflow_tracking_uri == f"sqlite:///{project.path}/mlruns/mlflow.db"
    assert mlflow.get_tracking_uri() == server.mlflow_tracking_uri


class Kill(BaseException):
    """Ends a run like `kill -9`, without cleaning up."""


def test_a_run_that_was_killed_at_its_very_end_is_closed_by_the_next(project, monkeypatch):
    """Nothing is left to make, but MLflow's run is open; once closed, MLflow is not asked again."""

    def killed(*_):
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.end_run", killed)
        with pytest.raises(Kill):
            project.run("foundation")
    mlflow.tracking.fluent._active_run_stack.get().clear()
    ended = f"{socket.gethostname()}:4194305:1"
    for run in all_runs(project):
        tracked(project).set_tag(run.info.run_id, "srlm.process", ended)
    assert statuses(project) == {"RUNNING", "FINISHED"}
    before = points(project)
    project.run("foundation")
    assert statuses(project) == {"FINISHED"}
    assert points(project) == before
    assert not list((project.path / "data").glob(".open"))


def test_a_note_is_left_until_a_command_has_ended(tmp_path):
    """Each command has a note of its own."""
    note, other = RunNote(tmp_path / "data", "c0ffee"), RunNote(tmp_path / "data", "beef")
    assert not note.is_left
    note.leave()
    other.leave()
    other.remove()
    assert note.is_left
    assert not other.is_left
    note.remove()
    assert list((tmp_path / "data").iterdir()) == []
