"""The commands that serve MLflow's and kedro-viz's pages: what they print at start and end."""

import multiprocessing
import os
import time

import click
import pytest
from click.testing import CliRunner

from srlm_kedro.errors import InputError
from srlm_kedro.running import pages, plugins


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """Removes our variables before and after a test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in pages._QUIET:
        os.environ.pop(name, None)


def shown(serve, wrap=pages._serve_quietly):
    """The result of a command that serves: output and exit status."""
    group = click.Group("page", commands={"run": click.Command("run", callback=serve)})
    group.commands["run"].invoke = wrap(group.commands["run"].invoke)
    return CliRunner().invoke(group, ["run"])


def test_ctrl_c_is_the_good_end_of_a_page():
    """No traceback and no "Aborted!"; a server process is ended too."""

    def serve():
        multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,)).start()
        raise KeyboardInterrupt

    done = shown(serve)
    assert (done.exit_code, done.output) == (0, "")
    assert multiprocessing.active_children() == []


def test_a_real_error_is_seen():
    """A refusal is a message; any other error is raised."""

    def refuse():
        raise InputError("conf/base/catalog.yml, line 2: is not YAML")

    done = shown(refuse)
    assert (done.exit_code, done.output) == (
        1,
        "Error: conf/base/catalog.yml, line 2: is not YAML\n",
    )

    def fail():
        raise OSError("broken")

    assert isinstance(shown(fail).exception, OSError)


def test_what_serves_says_warnings_and_errors_alone():
    """A variable that the user has set keeps its value."""
    seen = {}
    os.environ["MLFLOW_LOGGING_LEVEL"] = "DEBUG"
    shown(lambda: seen.update(os.environ))
    assert seen["MLFLOW_LOGGING_LEVEL"] == "DEBUG"
    assert seen["MLFLOW_UVICORN_OPTS"] == "--log-level warning"
    assert seen["PYTHONWARNINGS"] == "ignore"


def test_one_command_of_a_group_is_a_page():
    """The other commands are unchanged."""
    commands = {name: click.Command(name, callback=lambda: None) for name in ("run", "build")}
    group = click.Group("viz", commands=commands)
    plugins.wrap_command(group, "run", "viz_page")
    context = click.Context(group)
    assert group.get_command(context, "run").invoke.__qualname__.startswith("_serve_quietly")
    assert not group.get_command(context, "build").invoke.__qualname__.startswith("_serve_quietly")
    assert group.get_command(context, "none") is None


def test_kedro_viz_asks_nobody_for_its_newest_version(monkeypatch):
    """Neither the command nor its server sends a request from this machine."""
    import requests
    from kedro_viz.integrations import pypi

    asked = []
    monkeypatch.setattr(requests, "get", lambda url, **_: asked.append(url))
    monkeypatch.setattr(pypi, "get_latest_version", pypi.get_latest_version)
    monkeypatch.setattr(pages, "_conf", lambda env: None)

    def serve():
        click.echo(f"newest: {pypi.get_latest_version()}")

    assert shown(serve, pages.viz_page).output == "newest: None\n"
    assert asked == []
