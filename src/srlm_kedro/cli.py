"""`kedro run` of this project: refusals are a message, not a traceback."""

import copy
import functools
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from srlm_kedro.errors import GateError, InputError


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, name=__file__)
def cli() -> None:
    """Commands of this project."""


@functools.wraps(kedro_run.callback)
def _run(pipeline: str, pipelines: list[str], **options: Any) -> Any:
    """Takes `--pipeline` for `--pipelines`, and shows refusals as plain messages."""
    names = list(pipelines) + ([pipeline] if pipeline else [])
    try:
        return kedro_run.callback(pipeline="", pipelines=names, **options)
    except (InputError, GateError) as error:
        raise click.ClickException(str(error)) from error


run = copy.copy(kedro_run)
run.callback = _run
cli.add_command(run)
