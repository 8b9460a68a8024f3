"""Pages on a port: a taken port is a failure and not a silent end."""

import copy
import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from srlm_kedro.engines.machine import free_port
from srlm_kedro.running.plugins import wrap_command


@pytest.fixture
def taken():
    """A port on which something is served."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


@pytest.fixture
def free():
    """A free port."""
    return free_port()


def mlflow_ui(monkeypatch, *arguments, status=0):
    """The output and exit status of `kedro mlflow ui`, and the command that it started."""
    from srlm_kedro.tracking import mlflow_ui

    started = []

    def serve(command):
        started.append(command)
        return status

    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(mlflow_ui, "_serve", serve)
    group = copy.copy(mlflow_ui.mlflow_commands)
    wrap_command(group, "ui", "mlflow_page")
    return CliRunner().invoke(group, ["ui", *arguments]), started


def test_a_taken_port_is_told_and_fails(project, taken, monkeypatch):
    """MLflow would exit with 0, which `make mlflow` and scripts take for success."""
    done, started = mlflow_ui(monkeypatch, f"--port={taken}")
    assert done.exit_code == 1
    assert f"127.0.0.1:{taken}: something is served there already" in done.output
    assert f"kedro mlflow ui --port={taken + 1}" in done.output
    assert "The MLflow UI" not in done.output  # no address of a page that is not served
    assert started == []


def test_a_host_that_is_not_ours_is_told_too(project, monkeypatch):
    """Nothing can be served there."""
    done, started = mlflow_ui(monkeypatch, "--host=192.0.2.1")
    assert done.exit_code == 1
    assert "192.0.2.1:5000: " in done.output
    assert started == []


@pytest.mark.parametrize("status", [0, 3])
def test_the_page_is_this_projects_and_its_end_is_told(project, free, monkeypatch, status):
    """The exit status is MLflow's own."""
    done, started = mlflow_ui(monkeypatch, f"--port={free}", status=status)
    assert done.exit_code == status
    (command,) = started
    assert command[1:4] == ["-m", "mlflow", "ui"]
    assert f"sqlite:///{project.path}/mlruns/mlflow.db" in command
    assert str(free) in command


STARTER = """
import sys
from srlm_kedro.tracking.mlflow_ui import _serve
sys.exit(_serve([sys.executable, "-c", sys.argv[1]]))
"""
SERVER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_the_server_ends_with_the_command():
    """SIGTERM is passed on, and the exit status is the server's own."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, SERVER], stdout=subprocess.PIPE, text=True
    ) as started:
        server = int(started.stdout.readline())
        started.terminate()
        assert started.wait(30) == 7
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_one_line_says_where_the_page_is(project, free, monkeypatch):
    """It names the port that was asked for; a refusal is a message."""
    from srlm_kedro.tracking import mlflow_ui

    monkeypatch.setattr(os, "environ", os.environ.copy())
    group = copy.copy(mlflow_ui.mlflow_commands)
    wrap_command(group, "ui", "mlflow_page")
    monkeypatch.setattr(mlflow_ui, "_serve", lambda command: 0)
    done = CliRunner().invoke(group, ["ui", f"--port={free}"])
    (line,) = done.output.splitlines()
    assert line.startswith(f"The MLflow UI: http://127.0.0.1:{free}/#/experiments")
    assert line.endswith(" (Ctrl-C ends it)")
    database = f"sqlite:///{project.path}/mlruns/mlflow.db"
    assert os.environ["MLFLOW_REGISTRY_STORE_URI"] == database
    (project.path / "conf/local/mlflow.yml").write_text("server: [\n", "utf-8")
    done = CliRunner().invoke(group, ["ui"])
    assert done.exit_code == 1
    assert "conf/local/mlflow.yml, line 2: is not YAML" in done.output
