"""Pages on a port: one that is taken is a failure, not a quiet end."""

import socket

import pytest
from click.testing import CliRunner


@pytest.fixture
def taken():
    """A port at which somebody serves."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def mlflow_ui(monkeypatch, *arguments, status=0):
    """What `kedro mlflow ui` says and ends with, and the command that it started."""
    from srlm_kedro.tracking import commands

    started = []

    def call(command):
        started.append(command)
        return status

    monkeypatch.setattr(commands.subprocess, "call", call)
    done = CliRunner().invoke(commands.mlflow_commands, ["ui", *arguments])
    return done, started


def test_a_taken_port_is_told_and_fails(project, taken, monkeypatch):
    """MLflow logs an error and ends with 0, which `make mlflow` and scripts take for success."""
    done, started = mlflow_ui(monkeypatch, f"--port={taken}")
    assert done.exit_code == 1
    assert f"127.0.0.1:{taken}: somebody serves there already" in done.output
    assert f"kedro mlflow ui --port={taken + 1}" in done.output
    assert started == []


def test_a_host_that_is_not_ours_is_told_too(project, monkeypatch):
    """Nothing can be served there."""
    done, started = mlflow_ui(monkeypatch, "--host=192.0.2.1")
    assert done.exit_code == 1
    assert "192.0.2.1:5000: " in done.output
    assert started == []


@pytest.mark.parametrize("status", [0, 3])
def test_the_page_is_this_projects_and_its_end_is_told(project, taken, monkeypatch, status):
    """The exit code is MLflow's own."""
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    done, started = mlflow_ui(monkeypatch, f"--port={port}", status=status)
    assert done.exit_code == status
    (command,) = started
    assert command[1:4] == ["-m", "mlflow", "ui"]
    assert f"sqlite:///{project.path}/mlruns/mlflow.db" in command
    assert str(port) in command
