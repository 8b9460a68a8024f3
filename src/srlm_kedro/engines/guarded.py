"""A program in a process group of its own, which ends with whoever started it.

Run as a script, this file starts the program that its arguments name, and kills it as soon as the
script's own parent is gone. So nothing is left of a run that was killed.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

_GUARD = "SRLM_GUARD"
"""The environment variable by which a program knows the script that guards it."""
_LAST_LINES = 12
"""Lines at the end of a program's output that a message shows."""
_LONGEST = 20_000
"""Bytes at the end of an output in which these lines are looked for."""
_SECONDS_TO_END = 60.0
"""Seconds that a program has to end by itself when it is told to."""
_SECONDS_TO_DIE = 10.0
"""Seconds that processes may take to vanish after they were killed."""
_PAUSE = 0.5
"""Seconds between two looks at the parent."""


class GuardedProgram:
    """A running program. It ends with `end`, with this object, and with this process."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
    ):
        """Starts the program.

        Args:
            command: The program and its arguments.
            environment: All its variables; None: those of this process.
            output: Where what it prints goes; None: a temporary file.

        Raises:
            OSError: It cannot be started.
        """
        own = None if output else tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        self._output = own
        self._last: list[bytes] = []
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(os.getpid()), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output or own,
            stderr=output or own,
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self.process, own, self._last)

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self.process.poll()

    def last_lines(self) -> str:
        """The end of what it printed into its temporary file, marked for a message."""
        if self._output is None:
            return ""
        return marked(self._last[0] if self._last else _tail(self._output))

    def end(self) -> None:
        """Ends the program and its children."""
        self._end()


def marked(output: bytes) -> str:
    """The last lines of an output, each with a mark."""
    lines = output.decode(errors="replace").splitlines()
    return "\n".join(f"  | {line}" for line in lines[-_LAST_LINES:])


def end_with_guard() -> None:
    """Lets this process end soon after the script above it, also if its own parent is gone before.

    A program's children need it if they are in a process group of their own.
    """
    guard = int(os.environ[_GUARD])
    _when(lambda: not _lives(guard), lambda: os._exit(1))


def _when(over: Callable[[], bool], act: Callable[[], None]) -> None:
    def watch() -> None:
        while not over():
            time.sleep(_PAUSE)
        act()

    threading.Thread(target=watch, daemon=True).start()


def _lives(number: int) -> bool:
    """Whether a process runs; one that has ended counts no longer, even if nobody asks for it."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(number)


def _is_zombie(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):  # not Linux, or it has just gone
        return False


def _end(process: subprocess.Popen[bytes], output: IO[bytes] | None, last: list[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_END)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _wait_for_group(process.pid)
    if output is not None:
        last.append(_tail(output))
        output.close()


def _wait_for_group(group: int) -> None:
    """Waits until all processes of a killed group are gone, and so what they held on devices."""
    end = time.monotonic() + _SECONDS_TO_DIE
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.02)


def _tail(output: IO[bytes]) -> bytes:
    """The last bytes of a file to which another process writes through the same descriptor."""
    size = os.fstat(output.fileno()).st_size
    return os.pread(output.fileno(), _LONGEST, max(0, size - _LONGEST))


def _guard(parent: int, command: Sequence[str]) -> int:
    """Runs the program below a second guard: whoever kills its children kills only the first."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # the program gets it too, and ends
    first = os.getpid()
    second = os.fork()
    if not second:
        _when(lambda: os.getppid() != first, lambda: os.killpg(0, signal.SIGKILL))
        os.environ[_GUARD] = str(os.getpid())
        os._exit(subprocess.run(command, check=False).returncode & 0xFF)
    _when(lambda: os.getppid() != parent, lambda: os.killpg(0, signal.SIGKILL))
    status = os.waitstatus_to_exitcode(os.waitpid(second, 0)[1])
    if status < 0:  # it was killed, and the program lives
        os.killpg(0, signal.SIGKILL)
    return status


if __name__ == "__main__":
    sys.exit(_guard(int(sys.argv[1]), sys.argv[2:]))
