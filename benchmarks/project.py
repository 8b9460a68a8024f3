"""A project of its own to run: a copy of this one's `conf/` and seed data."""

import io
import logging
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project

from srlm_kedro.running.stopping import Terminated, exit_status

_ROOT = Path(__file__).parents[1]


def copy_project(folder: Path) -> None:
    """Makes it, unless it is there already."""
    if (folder / "conf").exists():
        return
    for name in ("conf", "data/01_raw"):
        shutil.copytree(_ROOT / name, folder / name)
    shutil.copy(_ROOT / "pyproject.toml", folder)
    for name in ("src", "mlruns"):
        (folder / name).mkdir()


def open_project(folder: Path) -> None:
    """Makes it, unless it is there already; runs are of this project from now on."""
    copy_project(folder)
    bootstrap_project(folder)


def engine_entry(engine: str, options: Mapping[str, Any], **further: Any) -> dict[str, Any]:
    """A catalog's entry of an engine."""
    kind = "srlm_kedro.datasets.engine.EngineDataset"
    return {"type": kind, "engine": engine, "options": dict(options), **further}


def write_environment(folder: Path, name: str, files: Mapping[str, Any]) -> None:
    """An environment of a project: its files by their names without ending."""
    environment = folder / "conf" / name
    environment.mkdir(exist_ok=True)
    for file, content in files.items():
        (environment / f"{file}.yml").write_text(yaml.safe_dump(content), "utf-8")


@contextmanager
def stopped_in_words() -> Iterator[None]:
    """Ends a program of many runs with a message where Ctrl-C or SIGTERM stops one of them.

    Raises:
        SystemExit: With the status by which shells report the signal.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        print("Stopped. Nothing is lost: the same command goes on from there.", flush=True)
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        raise SystemExit(exit_status(number)) from None


def run_project(
    folder: Path,
    env: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """One `kedro run` of the open project; what it prints at its end is dropped."""
    given = dict(parameters or {})
    session = settings.SESSION_CLASS.create(folder, env=env, runtime_params=given)
    with session, redirect_stdout(io.StringIO()):
        session.run(**options)


@contextmanager
def hooked(*hooks: Any) -> Iterator[None]:
    """Runs have just these hooks meanwhile."""
    before = settings.HOOKS
    settings.set("HOOKS", hooks)
    try:
        yield
    finally:
        settings.set("HOOKS", before)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The working folder, for the catalog's paths are relative."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Runs log nothing below an error."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
