"""An SQLite database of MLflow's: made whole and once, refused where it cannot be used."""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import mlflow
import mlflow.store.db.utils as mlflow_database
from alembic.script import ScriptDirectory
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import make_url

from srlm_kedro.errors import InputError
from srlm_kedro.tracking.address import sqlite_uri

_PATIENCE = 10
"""Seconds that another process may keep the database to itself."""
_SET_UP = 120
"""Seconds that another process may take to make it."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EROFS, errno.EACCES)
_ANOTHER = "name another one as server.mlflow_tracking_uri in conf/local/mlflow.yml"


@contextmanager
def ready(file: Path, artifacts: Path) -> Iterator[None]:
    """Inside, this process alone sets up the database, which is there and of today's schema.

    Args:
        file: The database; made where it is missing, and there at once or not at all.
        artifacts: Where experiments that name no place keep theirs.

    Raises:
        InputError: A link to nowhere, a folder, no database, not MLflow's, of another schema, or
            kept locked by somebody.
    """
    _refuse_what_is_no_file(file)
    if make_url(sqlite_uri(file)).database != str(file):
        raise InputError(f"{file}: no database can be opened by this name; rename its folder")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{file}: cannot be made ({error.strerror}); {_ANOTHER}") from error
    if "%" in sqlite_uri(file):
        # MLflow makes a folder of the address as it is written, quotes and all: beside the project.
        mlflow_database._make_parent_dirs_if_sqlite = _folder_is_there
    with _alone(file):
        tables = _tables(file)
        if not tables:
            _create(file.resolve(), artifacts)
        else:
            _refuse_another_schema(file, tables)
        yield


def opened(file: Path) -> sqlite3.Connection:
    """The database, to be read and written past MLflow."""
    address = f"file:{quote(str(file))}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)


def _refuse_what_is_no_file(file: Path) -> None:
    for path in (file, *file.parents):
        if path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: a link to {os.readlink(path)}, which is not there. Is a disk not "
                "mounted? Otherwise take the link away, and a new database is made"
            )
    if file.is_dir():
        raise InputError(f"{file}: a folder, where MLflow's database belongs; {_ANOTHER}")


def _tables(file: Path) -> set[str]:
    """The names of its tables; none if there is no database yet."""
    if not file.exists() or not file.stat().st_size:
        return set()
    try:
        with closing(opened(file)) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows}
    except sqlite3.OperationalError as error:
        locked = "locked" in str(error)
        why = f"locked by another process for {_PATIENCE} seconds" if locked else str(error)
        todo = "Wait for its end, or stop it" if locked else "Mend that"
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
        with closing(opened(file)) as database:
            row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        found = row[0] if row else ""
    migrations = ScriptDirectory(str(Path(mlflow.__file__).parent / "store/db_migrations"))
    newest = migrations.get_current_head()
    if found == newest:
        return
    if found and found not in {step.revision for step in migrations.walk_revisions()}:
        raise InputError(
            f"{file}: written by a newer MLflow than {mlflow.__version__}, the one installed here "
            f"(schema {found}, here {newest}). Install that one, or {_ANOTHER}"
        )
    raise InputError(
        f"{file}: written by an older MLflow than {mlflow.__version__}, the one installed here "
        f"(schema {found or 'without a name'}, here {newest}). Keep a copy of it, and bring it up "
        f'to date: mlflow db upgrade "{sqlite_uri(file)}"'
    )


def _create(file: Path, artifacts: Path) -> None:
    """Makes it beside, and puts it in place once it is whole: a kill leaves no half of it."""
    scratch = file.with_name(f".{file.name}.new")
    for left in file.parent.glob(f"{scratch.name}*"):
        left.unlink()
    SqlAlchemyStore(sqlite_uri(scratch), artifacts.as_uri()).engine.dispose()
    os.replace(scratch, file)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Where there are no locks, or nothing can be written, it goes on without."""
    target = file.resolve()
    try:
        lock = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        yield
        return
    try:
        _wait_for(lock, file)
        yield
    finally:
        os.close(lock)


def _wait_for(lock: int, file: Path) -> None:
    end = time.monotonic() + _SET_UP
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise InputError(
                    f"{file}: another run has been setting it up for {_SET_UP} seconds. Wait for "
                    "that, or stop it"
                ) from None
            time.sleep(0.2)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return


def _folder_is_there(uri: str) -> None:
    """Nothing to do."""
