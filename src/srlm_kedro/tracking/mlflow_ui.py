"""kedro-mlflow's commands; here `ui` fails with a message if its page cannot be served."""

import errno
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project
from kedro_mlflow.framework.cli.cli import mlflow_commands

__all__ = ["mlflow_commands"]


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


def _ui(env: str | None, port: str | None, host: str | None) -> None:
    """Opens the MLflow UI with the settings of mlflow.yml."""
    folder = find_kedro_project(Path.cwd()) or Path.cwd()
    bootstrap_project(folder)
    with KedroSession.create(project_path=folder, env=env) as session:
        context: KedroContext = session.load_context()
        settings: Any = context.mlflow  # type: ignore[attr-defined]
    address = settings.server.mlflow_tracking_uri
    if address.startswith("http"):
        webbrowser.open(address)
        return
    served, number = host or settings.ui.host, str(port or settings.ui.port)
    if not number.isdecimal():
        raise click.ClickException(f"--port: must be a number, found {number!r}")
    # MLflow only logs that a port is taken, and exits with status 0.
    if fault := port_fault(served, int(number)):
        raise click.ClickException(fault)
    asked = ["--backend-store-uri", address, "--host", served, "--port", number]
    status = subprocess.call([sys.executable, "-m", "mlflow", "ui", *asked])
    click.get_current_context().exit(status)


mlflow_commands.commands["ui"].callback = _ui
