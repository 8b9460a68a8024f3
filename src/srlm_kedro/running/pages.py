"""The pages of MLflow and kedro-viz: they start and end without noise, and errors are seen."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from kedro.config import OmegaConfigLoader
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project

from srlm_kedro.errors import InputError
from srlm_kedro.tracking.address import configuration, how_to_look, settled

_Invoke = Callable[[click.Context], Any]

_QUIET = {
    "PYTHONWARNINGS": "ignore",  # of deprecated things within MLflow, kedro-viz and FastAPI
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_UVICORN_OPTS": "--log-level warning",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # jobs of MLflow's, which nothing here asks for
}
"""Variables of the processes that serve; one that is set already counts before these."""
_PATIENCE = 5
"""Seconds that what serves has for its own end."""
_FIRST_WORDS = "make mlflow, then "


def mlflow_page(invoke: _Invoke) -> _Invoke:
    """`kedro mlflow ui`: one line says where the page is, and how it ends."""

    def told(ctx: click.Context) -> Any:
        project, loader = _conf(ctx.params.get("env"))
        config = configuration(loader)
        asked = {name: ctx.params[name] for name in ("host", "port") if ctx.params.get(name)}
        config["ui"] = {**(config.get("ui") or {}), **asked}
        config = settled(config, project)
        where = how_to_look(config)
        if where.startswith(_FIRST_WORDS):  # else a server of the user's own shows it
            address = str(config["server"]["mlflow_tracking_uri"])
            os.environ.setdefault("MLFLOW_REGISTRY_STORE_URI", address)
            click.echo(f"The MLflow UI: {where.removeprefix(_FIRST_WORDS)} (Ctrl-C ends it)")
        return invoke(ctx)

    return _quietly(told)


def viz_page(invoke: _Invoke) -> _Invoke:
    """`kedro viz run`: a broken configuration is a message, for no server would come up.

    kedro-viz does not ask PyPI for its newest version.
    """

    def checked(ctx: click.Context) -> Any:
        _conf(ctx.params.get("env"))
        from kedro_viz.integrations import pypi

        pypi.get_latest_version = lambda: None  # nobody is called; what serves is forked from here
        return invoke(ctx)

    return _quietly(checked)


def _quietly(invoke: _Invoke) -> _Invoke:
    """Waits for what serves, here and not at the interpreter's end; Ctrl-C is its good end."""

    def quiet(ctx: click.Context) -> Any:
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
                server.join(_PATIENCE)
            ctx.exit(0)

    return quiet


def _conf(env: str | None) -> tuple[Path, OmegaConfigLoader]:
    """The project, and the loader of its configuration, which refuses broken files."""
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    bootstrap_project(project)
    conf = str(project / settings.CONF_SOURCE)
    return project, settings.CONFIG_LOADER_CLASS(
        conf_source=conf, env=env, **settings.CONFIG_LOADER_ARGS
    )
