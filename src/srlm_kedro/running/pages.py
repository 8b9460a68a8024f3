"""The commands that serve MLflow's and kedro-viz's pages: no noise, and errors are shown."""

import errno
import multiprocessing
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from kedro.config import OmegaConfigLoader
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project

from srlm_kedro.errors import InputError
from srlm_kedro.tracking.address import configuration, effective, is_server, ui_page

_Invoke = Callable[[click.Context], Any]

_QUIET = {
    "PYTHONWARNINGS": "ignore",  # deprecations within MLflow, kedro-viz and FastAPI
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_UVICORN_OPTS": "--log-level warning",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # MLflow's jobs, which this project never uses
}
"""Variables of the server processes; a variable that the user has set keeps its value."""
_GRACE = 5
"""Seconds that a server process has to end by itself."""


def mlflow_page(invoke: _Invoke) -> _Invoke:
    """`kedro mlflow ui`: one line says where the page is and how to end it.

    A page that cannot be served is refused. MLflow itself only logs that a port is taken, and exits
    with status 0.
    """

    def invoke_with_address(ctx: click.Context) -> Any:
        project, loader = _conf(ctx.params.get("env"))
        config = configuration(loader)
        asked = {name: ctx.params[name] for name in ("host", "port") if ctx.params.get(name)}
        config["ui"] = {**(config.get("ui") or {}), **asked}
        config = effective(config, project)
        address = str(config["server"].get("mlflow_tracking_uri") or "")
        if not address.startswith("http"):
            _refuse_port(config.get("ui") or {})
        if not is_server(address):
            os.environ.setdefault("MLFLOW_REGISTRY_STORE_URI", address)
            click.echo(f"The MLflow UI: {ui_page(config)} (Ctrl-C ends it)")
        return invoke(ctx)

    return _serve_quietly(invoke_with_address)


def port_fault(host: str, port: int) -> str | None:
    """Why nothing can be served at the address; None if it is free."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "something is served there already" if taken else str(error)
            return (
                f"{host}:{port}: {why}. See whether it is this page, or name another port: "
                f"kedro mlflow ui --port={port + 1}"
            )
    return None


def _refuse_port(ui: Mapping[str, Any]) -> None:
    host, port = str(ui.get("host", "127.0.0.1")), str(ui.get("port", "5000"))
    if not port.isdecimal():
        raise click.ClickException(f"--port: must be a number, found {port!r}")
    if fault := port_fault(host, int(port)):
        raise click.ClickException(fault)


def viz_page(invoke: _Invoke) -> _Invoke:
    """`kedro viz run`: a broken configuration gives a message, because no server would come up.

    kedro-viz does not ask PyPI for its newest version.
    """

    def invoke_if_sound(ctx: click.Context) -> Any:
        _conf(ctx.params.get("env"))
        from kedro_viz.integrations import pypi

        pypi.get_latest_version = lambda: None  # in the server too, which is forked from here
        return invoke(ctx)

    return _serve_quietly(invoke_if_sound)


def _serve_quietly(invoke: _Invoke) -> _Invoke:
    """Waits for the server processes itself, so that Ctrl-C ends the command with status 0."""

    def invoke_quietly(ctx: click.Context) -> Any:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            result = invoke(ctx)
            for server in multiprocessing.active_children():
                server.join()
            return result
        except InputError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            for server in multiprocessing.active_children():
                server.terminate()
                server.join(_GRACE)
            ctx.exit(0)

    return invoke_quietly


def _conf(env: str | None) -> tuple[Path, OmegaConfigLoader]:
    """The project, and its config loader, which refuses broken files."""
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    bootstrap_project(project)
    conf = str(project / settings.CONF_SOURCE)
    return project, settings.CONFIG_LOADER_CLASS(
        conf_source=conf, env=env, **settings.CONFIG_LOADER_ARGS
    )
