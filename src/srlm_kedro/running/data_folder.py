"""The folder that a run writes into: one run at a time, and leave to write there."""

import errno
import fcntl
import logging
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from srlm_kedro.errors import InputError
from srlm_kedro.freshness.files import write_whole
from srlm_kedro.running.stopping import this_command

_log = logging.getLogger(__name__)
_LOCK = ".run.lock"
_UNFINISHED = "unfinished"
"""Where `conf/*/catalog.yml` has engines keep shards, states of training and scratch files."""
_OPEN = ".open"
"""Where commands leave a note while MLflow has a run of theirs open."""
_MARK = ".mark"
"""What tells the folder from others."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
_SHOWN = 3
_held: set[int] = set()


@contextmanager
def one_run_at_a_time(folder: Path) -> Iterator[bool]:
    """Holds the folder. The system lets go of it with the process, however that ends.

    Yields:
        Whether it is held for sure: some file systems have no locks.

    Raises:
        InputError: Another run holds it, or nothing can be written there.
    """
    made = not folder.exists()
    file = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock, sure = _claim(file)
    except OSError as error:
        raise InputError(
            f"{folder}: a run writes here, but nothing can be written ({error.strerror}). Give "
            "yourself leave to write there, or name another folder: --params=data=OTHER"
        ) from error
    _held.add(lock)
    try:
        yield sure
    finally:
        file.unlink(missing_ok=True)  # while it is held, so that nobody else's is taken away
        _held.discard(lock)
        os.close(lock)
        if made:
            with suppress(OSError):
                folder.rmdir()


def mark_of(folder: Path) -> str:
    """A name that tells a data folder from every other one, by whatever path and host it is seen.

    It is made once and kept in the folder. A copy has another one: it is another folder on disk.
    """
    file = folder / _MARK
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, uuid.uuid4().hex.encode())
    return f"{file.read_text('utf-8')}-{folder.stat().st_ino}"


def forget_unfinished(folder: Path) -> None:
    """Deletes what was kept of work that a kill might break off: all that was asked is done."""
    shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)


class OpenNote:
    """A note that a command is at work, which a kill leaves behind.

    MLflow knows too, but takes seconds to be asked: without a note there is nothing to ask.
    """

    def __init__(self, folder: Path, command: str) -> None:
        """Of that command in that data folder."""
        self._file = folder / _OPEN / command

    @property
    def is_left(self) -> bool:
        """Whether the command, which is not at work now, did not come to its end."""
        return self._file.exists()

    def leave(self) -> None:
        """Says that the command is at work; to be done before MLflow is told."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()

    def remove(self) -> None:
        """Says that all has come to its end, in MLflow too."""
        self._file.unlink(missing_ok=True)
        with suppress(OSError):
            self._file.parent.rmdir()


def write_faults(outputs: Mapping[str, Path]) -> list[str]:
    """Folders in which outputs cannot be put, one line each.

    Args:
        outputs: Where each dataset is going to lie.
    """
    refused: dict[Path, list[str]] = {}
    for name, path in outputs.items():
        folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            refused.setdefault(folder, []).append(name)
    return [
        f"{folder}: {_few(names)} cannot be written there; make it a folder that you may write to"
        for folder, names in refused.items()
    ]


def _claim(file: Path) -> tuple[int, bool]:
    """The lock file, open, and whether it is locked; it holds who has it, for others to read."""
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            sure = _lock(lock, file)
            if _is_still(lock, file):
                os.ftruncate(lock, 0)
                os.write(lock, _this_run().encode())
                return lock, sure
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _lock(lock: int, file: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError as error:
        holder = os.read(lock, 4096).decode(errors="replace").strip() or "another process"
        raise InputError(
            f"{file.parent}: a run is at work here already ({holder}). Wait for its end, stop it, "
            "or name another folder: --params=data=OTHER"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning("%s: no locks here; see to it that one run alone writes there.", file.parent)
        return False


def _is_still(lock: int, file: Path) -> bool:
    """Whether the file was not taken away between its opening and its locking."""
    try:
        return os.path.samestat(os.fstat(lock), file.stat())
    except FileNotFoundError:
        return False


def _this_run() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}: {this_command()}\n"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _let_go() -> None:
    """In a forked worker: the lock is its parent's, and ends with its parent."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)
