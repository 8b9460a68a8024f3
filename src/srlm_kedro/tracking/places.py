"""Where MLflow keeps artifacts: in this project or where the user says, and nowhere else.

MLflow writes absolute paths into its database. A project that was moved or copied would otherwise
write into its old folder, and delete there.
"""

import logging
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from srlm_kedro.errors import InputError
from srlm_kedro.tracking.address import is_server
from srlm_kedro.tracking.database import open_database

_log = logging.getLogger(__name__)
_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
    ("trace_tags", "value"),
)
"""The table and column of each path in MLflow's database."""


def local_path(location: str | None) -> Path | None:
    """The folder that a location names on this machine; None if it names something else."""
    parts = urlsplit(location or "")
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(location) if location and not parts.scheme else None


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path is in a folder, after links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def update_paths(file: Path, project: Path, subfolder: Path) -> None:
    """Replaces the old paths in the database of a project that was moved or copied.

    Other projects may share a database that is outside this project. It is changed only if the
    folders that it names do not exist.

    Args:
        file: MLflow's SQLite database.
        project: The project's folder.
        subfolder: The folder of artifacts, relative to the project.
    """
    with closing(open_database(file)) as database:
        for old in _old_projects(database, project, subfolder):
            if not is_within(file, project) and (old / subfolder).exists():
                continue
            database.execute("BEGIN IMMEDIATE")
            for table, column in _columns(database):
                for before, after in ((old.as_uri(), project.as_uri()), (str(old), str(project))):
                    _replace(database, table, column, before, after)
            database.execute("COMMIT")
            _log.info(
                "MLflow: this project was moved or copied from %s; its database names %s now.",
                old,
                project,
            )


def refuse_elsewhere(uri: str, name: str, location: str, asked: Path | None, project: Path) -> None:
    """Refuses an experiment whose artifacts would go where the user did not ask for them.

    Args:
        uri: The address of the runs.
        name: The experiment.
        location: Where it keeps its artifacts; MLflow cannot change that.
        asked: The folder that the configuration names, which may be a link; None: it names none.
        project: The project's folder.

    Raises:
        InputError: The artifacts are in a folder outside this project.
    """
    folder = local_path(location)
    if folder is None or (asked is not None and folder.resolve() == asked.resolve()):
        return
    if is_within(folder, project):
        if is_server(uri):
            _log.warning(
                "MLflow: the experiment %s keeps its artifacts on this machine, in %s, because it "
                "was created that way. To use the server's own store, name another experiment in "
                "conf/local/mlflow.yml (tracking.experiment.name).",
                *(name, folder),
            )
        return
    if is_server(uri) and (folder.exists() or _is_here(uri)):
        return  # a server on this machine, or one that shares a disk with this machine
    kind = "of another machine" if is_server(uri) else "outside this project"
    raise InputError(
        f"MLflow: the experiment {name} keeps its artifacts in {folder}, {kind}, and nothing is "
        "written there unless you ask for it. Give this project its own experiment "
        "(tracking.experiment.name in conf/local/mlflow.yml), or name that folder there, as "
        "tracking.experiment.create_experiment_kwargs.artifact_location"
    )


def _old_projects(database: sqlite3.Connection, project: Path, subfolder: Path) -> list[Path]:
    """The other projects' folders that experiments name, the deepest first."""
    found = set()
    depth = len(subfolder.parts)
    for (location,) in database.execute("SELECT artifact_location FROM experiments"):
        folder = local_path(location)
        if folder is None or folder.parts[-depth:] != subfolder.parts:
            continue
        if folder.resolve() != (project / subfolder).resolve():
            found.add(Path(*folder.parts[:-depth]))
    return sorted(found, key=lambda path: -len(path.parts))


def _columns(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table, column in _PATHS:
        if column in {row[1] for row in database.execute(f"PRAGMA table_info({table})")}:
            yield table, column


def _replace(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    """Replaces paths that are `old` or below it, unless they are below `new` already."""
    below = f"({column} = ? OR substr({column}, 1, ?) = ?)"
    database.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {below} AND NOT {below}",
        [new, len(old) + 1, *(old, len(old) + 1, f"{old}/"), *(new, len(new) + 1, f"{new}/")],
    )


def _is_here(uri: str) -> bool:
    host = urlsplit(uri).hostname or ""
    return host in ("localhost", "::1", socket.gethostname()) or host.startswith("127.")
