"""kedro-mlflow's commands; here `ui` ends with its server, and with the server's status."""

import signal
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project
from kedro_mlflow.framework.cli.cli import mlflow_commands

__all__ = ["mlflow_commands"]


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
    asked = ["--backend-store-uri", address, "--host", served, "--port", number]
    status = _serve([sys.executable, "-m", "mlflow", "ui", *asked])
    click.get_current_context().exit(status)


def _serve(command: Sequence[str]) -> int:
    """Runs a server until it ends, and passes SIGTERM on to it; returns its exit status."""
    with subprocess.Popen(command) as server:
        before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            status = server.wait()
        finally:
            server.terminate()  # after Ctrl-C; does nothing to a server that has ended
            signal.signal(signal.SIGTERM, before)
    return status if status >= 0 else 128 - status


mlflow_commands.commands["ui"].callback = _ui
