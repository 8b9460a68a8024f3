"""The commands of this project; a refusal is a message and not a traceback."""

import copy
import functools
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from kedro.config import MissingConfigException
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import _split_params, call, env_option
from kedro.framework.project import settings
from kedro.framework.startup import ProjectMetadata
from kedro.utils import load_obj
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from srlm_kedro.commands.archive import archive_conf
from srlm_kedro.commands.push import open_catalog, pack, send
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.running.stopping import Terminated, exit_status, stop_message, stoppable

_GRACE = 10
"""Seconds that a stopped run has to clean up."""


_REFUSALS = (InputError, GateError, MissingConfigException, OmegaConfBaseException, YAMLError)
"""What is told as a message, without a traceback."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, name=__file__)
def cli() -> None:
    """Commands of this project."""


@contextmanager
def _refusals_as_messages() -> Iterator[None]:
    """Inside, a refusal ends the command with its message."""
    try:
        yield
    except _REFUSALS as error:
        raise click.ClickException(str(error)) from error


def _refuse_runner(name: str | None) -> None:
    """Refuses a runner that does not exist: Kedro's own has a name, any other a path."""
    try:
        load_obj(name or "SequentialRunner", "kedro.runner")
    except (AttributeError, ImportError, ValueError) as error:
        raise click.ClickException(
            f"`--runner`: there is no runner `{name}`. Kedro's are SequentialRunner, "
            "ThreadRunner and ParallelRunner; name any other as package.module.Class."
        ) from error


@contextmanager
def _stops_as_messages() -> Iterator[None]:
    """Inside, SIGTERM and Ctrl-C end the command with one line and the shell's exit status."""
    with stoppable(signal.SIGTERM, signal.SIGINT, grace=_GRACE):
        try:
            yield
        except KeyboardInterrupt as error:
            click.echo(stop_message(str(error)), err=True)
            number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
            click.get_current_context().exit(exit_status(number))


@functools.wraps(kedro_run.callback)
def _run(pipeline: str, pipelines: list[str], **options: Any) -> Any:
    """Adds `--pipeline` to `--pipelines`, and shows refusals and stops as messages."""
    names = list(pipelines) + ([pipeline] if pipeline else [])
    _refuse_runner(options.get("runner"))
    with _refusals_as_messages(), _stops_as_messages():
        return kedro_run.callback(pipeline="", pipelines=names, **options)


run = copy.copy(kedro_run)
run.callback = _run
cli.add_command(run)


@cli.command()
@click.option("--model", required=True, help="The model to send: sft, m1, m2, ...")
@click.option("--repo", required=True, help="The repository on the hub: owner/name.")
@click.option("--private", is_flag=True, help="Makes a new repository private.")
@click.option(
    "--pairs", is_flag=True, help="Sends its pairs too, as the data set owner/name-pairs."
)
@click.option("--dry-run", is_flag=True, help="Only lists files and sizes; no hub is called.")
@click.option("--params", default="", callback=_split_params, help="As for `kedro run`.")
@env_option
@click.pass_obj
def push(
    metadata: ProjectMetadata,
    model: str,
    repo: str,
    private: bool,
    pairs: bool,
    dry_run: bool,
    params: dict[str, Any],
    env: str | None,
) -> None:
    """Sends a finished model to a Hugging Face hub, with its card."""
    with _refusals_as_messages():
        catalog = open_catalog(metadata.project_path, env, params)
        uploads = pack(catalog, model, repo, pairs)
        for upload in uploads:
            click.echo(upload.listing())
        for upload in [] if dry_run else uploads:
            click.echo(f"sent: {send(upload, private)}")


@cli.command()
@click.pass_obj
def parameters(metadata: ProjectMetadata) -> None:
    """Prints every parameter with its default, the paper's value and its bounds, as Markdown."""
    # This loads every stage and engine.
    from srlm_kedro.commands.parameter_page import parameter_page

    click.echo(parameter_page(metadata.project_path / settings.CONF_SOURCE), nl=False)


@cli.command()
@click.pass_obj
def package(metadata: ProjectMetadata) -> None:
    """Builds the wheel and an archive of its configuration into dist/.

    The archive holds no credentials and nothing of conf/local. `python -m srlm_kedro` runs the
    installed wheel in a folder with the archive's conf/ and a data/01_raw.
    """
    project, target = metadata.project_path, metadata.project_path / "dist"
    call([sys.executable, "-m", "build", "--wheel", "--outdir", str(target)], cwd=str(project))
    archive = target / f"conf-{metadata.package_name}.tar.gz"
    left = archive_conf(project / settings.CONF_SOURCE, archive)
    click.echo(f"{archive}: the configuration, {len(left)} files left out")
    for name in left:
        click.echo(f"  {settings.CONF_SOURCE}/{name} stays here")
