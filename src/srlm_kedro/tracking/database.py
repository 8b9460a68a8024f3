"""MLflow's SQLite database: made completely or not at all, and refused if it cannot be used."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import mlflow
import mlflow.store.db.utils as mlflow_database
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import make_url

from srlm_kedro.errors import InputError
from srlm_kedro.tracking.address import sqlite_uri

_BUSY_TIMEOUT = 10
"""Seconds for which another process may keep the database locked."""
_SET_UP_TIMEOUT = 120
"""Seconds that another process may take to make the database."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EROFS, errno.EACCES)
_ANOTHER = "name another one as server.mlflow_tracking_uri in conf/local/mlflow.yml"


@contextmanager
def prepared_database(file: Path, artifacts: Path) -> Iterator[None]:
    """Inside, the database exists with today's schema, and only this process sets it up.

    Args:
        file: The database; it is made if it is missing.
        artifacts: Where experiments keep their artifacts unless they name another folder.

    Raises:
        InputError: The file is a broken link, a folder, no database, not MLflow's, of another
            schema, or locked.
    """
    _refuse_no_file(file)
    if make_url(sqlite_uri(file)).database != str(file):
        raise InputError(f"{file}: no database can be opened under this name; rename its folder")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{file}: cannot be made ({error.strerror}); {_ANOTHER}") from error
    if "%" in sqlite_uri(file):
        # MLflow would make a folder from the quoted address, outside of the project.
        mlflow_database._make_parent_dirs_if_sqlite = lambda uri: None
    with _set_up_lock(file):
        tables = _tables(file)
        if not tables:
            _create(file.resolve(), artifacts)
        else:
            _refuse_another_schema(file, tables)
        yield


def open_database(file: Path) -> sqlite3.Connection:
    """A connection that reads and writes the database without MLflow."""
    address = f"file:{quote(str(file))}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None)


def _refuse_no_file(file: Path) -> None:
    for path in (file, *file.parents):
        if path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: a link to {os.readlink(path)}, which is not there. Is a disk not "
                "mounted? Otherwise remove the link, and a new database is made"
            )
    if file.is_dir():
        raise InputError(f"{file}: a folder, but must be MLflow's database; {_ANOTHER}")


def _tables(file: Path) -> set[str]:
    """The names of its tables; none if there is no database yet."""
    if not file.exists() or not file.stat().st_size:
        return set()
    try:
        with closing(open_database(file)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows}
    except sqlite3.OperationalError as error:
        locked = "locked" in str(error)
        why = f"locked by another process for {_BUSY_TIMEOUT} seconds" if locked else str(error)
        todo = "Wait for its end, or stop it" if locked else "Correct that"
        raise InputError(f"{file}: {why}. {todo}, or {_ANOTHER}") from error
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{file}: {error}. Put a copy of the database back, or move that file away, and a new "
            "database is made"
        ) from error


def _refuse_another_schema(file: Path, tables: set[str]) -> None:
    if not {"experiments", "runs"} <= tables:
        raise InputError(f"{file}: a database, but not MLflow's; {_ANOTHER}")
    found = ""
    if "alembic_version" in tables:
        with closing(open_database(file)) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        found = row[0] if row else ""
    migrations = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    newest = migrations.get_current_head()
    if found == newest:
        return
    if found and found not in {step.revision for step in migrations.walk_revisions()}:
        raise InputError(
            f"{file}: written by a newer MLflow than {mlflow.__version__}, the one installed here "
            f"(schema {found}, here {newest}). Install the newer one, or {_ANOTHER}"
        )
    raise InputError(
        f"{file}: written by an older MLflow than {mlflow.__version__}, the one installed here "
        f"(schema {found or 'without a name'}, here {newest}). Keep a copy of it, and upgrade it: "
        f'mlflow db upgrade "{sqlite_uri(file)}"'
    )


def _create(file: Path, artifacts: Path) -> None:
    """Makes the database in a scratch file and renames it, so that a kill leaves no part of it."""
    scratch = file.with_name(f".{file.name}.new")
    for left in file.parent.glob(f"{scratch.name}*"):
        left.unlink()
    SqlAlchemyStore(sqlite_uri(scratch), artifacts.as_uri()).engine.dispose()
    os.replace(scratch, file)


@contextmanager
def _set_up_lock(file: Path) -> Iterator[None]:
    """Inside, only this process sets the database up, if the file system has locks."""
    target = file.resolve()
    lock = FileLock(target.with_name(f".{target.name}.lock"), fallback_to_soft=False)
    try:
        lock.acquire(timeout=_SET_UP_TIMEOUT, poll_interval=0.2)
    except Timeout as error:
        raise InputError(
            f"{file}: another run has been setting it up for {_SET_UP_TIMEOUT} seconds. Wait for "
            "that, or stop it"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        lock.release()
