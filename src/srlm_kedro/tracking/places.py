"""Where MLflow keeps artifacts: in this project, or where the user says, and nowhere else.

MLflow writes absolute paths into its database. A project that is moved or copied takes the database
along, and would write into the old place, and delete there.
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
from srlm_kedro.tracking.database import opened

_log = logging.getLogger(__name__)
_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
    ("trace_tags", "value"),
)
"""What holds a path in MLflow's database, as table and column."""


def local_path(location: str | None) -> Path | None:
    """The folder that a location names on this machine, None if it names something else."""
    parts = urlsplit(location or "")
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(location) if location and not parts.scheme else None


def is_within(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, lies in a folder."""
    return path.resolve().is_relative_to(folder.resolve())


def reanchor(file: Path, project: Path, part: Path) -> None:
    """Has the database of a project that was moved or copied name this project's folders.

    A database outside of the project, which others may share, is left as it is where the folders
    that it names are there.

    Args:
        file: MLflow's SQLite database.
        project: The project's folder.
        part: Where artifacts lie in the project.
    """
    with closing(opened(file)) as database:
        for old in _old_projects(database, project, part):
            if not is_within(file, project) and (old / part).exists():
                continue
            database.execute("BEGIN IMMEDIATE")
            for table, column in _columns(database):
                for before, after in ((old.as_uri(), project.as_uri()), (str(old), str(project))):
                    _replace(database, table, column, before, after)
            database.execute("COMMIT")
            _log.info("MLflow: this project was %s; its database names %s now.", old, project)


def refuse_elsewhere(uri: str, name: str, location: str, asked: Path | None, project: Path) -> None:
    """Refuses an experiment whose artifacts would be written where nobody said.

    Args:
        uri: The address of the runs.
        name: The experiment.
        location: Where it keeps its artifacts; MLflow lets that not be changed.
        asked: The folder that the configuration asks for, if it does; it may be a link.
        project: The project's folder.

    Raises:
        InputError: A folder outside of the project.
    """
    folder = local_path(location)
    if folder is None or (asked is not None and folder.resolve() == asked.resolve()):
        return
    if is_within(folder, project):
        if is_server(uri):
            _log.warning(
                "MLflow: the experiment %s keeps its artifacts on this machine, in %s: it was made "
                "so. For the server's own store, name another one in conf/local/mlflow.yml "
                "(tracking.experiment.name).",
                *(name, folder),
            )
        return
    if is_server(uri) and (folder.exists() or _is_here(uri)):
        return  # a server that shares this machine's disk, or a disk with this machine
    kind = "of another machine" if is_server(uri) else "outside of this project"
    raise InputError(
        f"MLflow: the experiment {name} keeps its artifacts in {folder}, {kind}, and nothing is "
        "written there unasked. Give this project an experiment of its own "
        "(tracking.experiment.name in conf/local/mlflow.yml), or name that folder there, as "
        "tracking.experiment.create_experiment_kwargs.artifact_location"
    )


def _old_projects(database: sqlite3.Connection, project: Path, part: Path) -> list[Path]:
    """The other projects' folders that experiments name, the deepest first."""
    found = set()
    for (location,) in database.execute("SELECT artifact_location FROM experiments"):
        folder = local_path(location)
        if folder is None or folder.parts[-len(part.parts) :] != part.parts:
            continue
        if folder.resolve() != (project / part).resolve():
            found.add(Path(*folder.parts[: -len(part.parts)]))
    return sorted(found, key=lambda path: -len(path.parts))


def _columns(database: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table, column in _PATHS:
        if column in {row[1] for row in database.execute(f"PRAGMA table_info({table})")}:
            yield table, column


def _replace(database: sqlite3.Connection, table: str, column: str, old: str, new: str) -> None:
    """A path that is the old one or lies below it, and not in the new one already."""
    below = f"({column} = ? OR substr({column}, 1, ?) = ?)"
    database.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {below} AND NOT {below}",
        [new, len(old) + 1, *(old, len(old) + 1, f"{old}/"), *(new, len(new) + 1, f"{new}/")],
    )


def _is_here(uri: str) -> bool:
    host = urlsplit(uri).hostname or ""
    return host in ("localhost", "::1", socket.gethostname()) or host.startswith("127.")
