"""The data folder of a run: only one run writes there at a time, and notes outlive a kill."""

import errno
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from kedro.framework.context import KedroContext

from srlm_kedro.display.commands import this_command
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.digests import write_atomically

_log = logging.getLogger(__name__)
_LOCK = ".run.lock"
_UNFINISHED = "unfinished"
"""Where `conf/*/catalog.yml` has engines keep shards, states of training and scratch files."""
_OPEN = ".open"
"""Where commands leave a note while MLflow has an open run of theirs."""
_ID = ".mark"
"""Holds the id that tells the folder from others."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


def data_folder(context: KedroContext) -> Path:
    """The folder that holds the run's files, as the catalog reads it."""
    loader = context.config_loader
    named = loader.runtime_params.get("data")
    if not isinstance(named, str) or not named:  # refused with all other faults
        named = loader["globals"]["data"]
    return Path(context.project_path, named)


@contextmanager
def one_run_at_a_time(folder: Path) -> Iterator[bool]:
    """Locks the folder. The system releases the lock when the process ends, even after a kill.

    Yields:
        Whether the folder is locked; some file systems have no locks.

    Raises:
        InputError: Another run holds the lock, or the folder cannot be written.
    """
    is_new = not folder.exists()
    file = folder / _LOCK
    lock = FileLock(file, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_locked = _acquire(lock, file)
        file.write_text(f"process {os.getpid()} on {socket.gethostname()}: {this_command()}\n")
    except OSError as error:
        lock.release()
        raise InputError(
            f"{folder}: a run writes here, but nothing can be written ({error.strerror}). Get "
            "permission to write there, or name another folder: --params=data=OTHER"
        ) from error
    try:
        yield is_locked
    finally:
        file.unlink(missing_ok=True)  # while the lock is held: nobody else's file is deleted
        lock.release()
        if is_new:
            with suppress(OSError):
                folder.rmdir()


def folder_id(folder: Path) -> str:
    """A name that tells a data folder from every other one, whatever path or host sees it.

    It is made once and kept in the folder. A copy of the folder has another id.
    """
    file = folder / _ID
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, uuid.uuid4().hex.encode())
    return f"{file.read_text('utf-8')}-{folder.stat().st_ino}"


def delete_unfinished(folder: Path) -> None:
    """Deletes what was kept for a continuation after a kill, once all that was asked is made."""
    shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)


class RunNote:
    """A note on disk that a command is at work; a kill leaves it behind.

    MLflow knows this too, but takes seconds to answer. Without a note it need not be asked.
    """

    def __init__(self, folder: Path, command: str) -> None:
        """A note of one command in one data folder."""
        self._file = folder / _OPEN / command

    @property
    def is_left(self) -> bool:
        """Whether an earlier run of the command did not come to its end."""
        return self._file.exists()

    def leave(self) -> None:
        """Writes the note; call it before MLflow opens a run."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()

    def remove(self) -> None:
        """Deletes the note; call it after MLflow has closed the run."""
        self._file.unlink(missing_ok=True)
        with suppress(OSError):
            self._file.parent.rmdir()


def _acquire(lock: FileLock, file: Path) -> bool:
    """Whether the file system gave the lock."""
    try:
        # One more try within the time: the file may vanish while its holder ends.
        lock.acquire(timeout=0.2)
        return True
    except Timeout as error:
        holder = _read(file).strip() or "another process"
        raise InputError(
            f"{file.parent}: a run is at work here already ({holder}). Wait for its end, stop it, "
            "or name another folder: --params=data=OTHER"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning(
            "%s: the file system has no locks; make sure that only one run writes there.",
            file.parent,
        )
        return False


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
