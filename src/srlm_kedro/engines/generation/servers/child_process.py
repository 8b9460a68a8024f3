"""A child process in another Python environment: it answers each line of JSON with one."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from srlm_kedro.errors import GateError, InputError

_LAST_LINES = 12
"""Lines at the end of a child's output that a message shows."""
_SECONDS_TO_END = 60
"""Seconds that a child has to end by itself."""
_OWN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables that point into the environment of this process."""


class ChildProcess:
    """Runs a script until `end`, or until nothing refers to it; it dies with its parent."""

    def __init__(self, python: str, script: Path, environment: Mapping[str, str]):
        """Starts the script.

        Args:
            python: The interpreter.
            script: What it runs. It reads lines of JSON and ends when its input ends.
            environment: Variables in addition to those of this process.

        Raises:
            InputError: The interpreter cannot be started.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        try:
            self._process = subprocess.Popen(
                [python, "-u", str(script)],  # its output is complete even if it is killed
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_environment(python, environment),
                text=True,
                encoding="utf-8",
                start_new_session=True,  # its own children end with it
            )
        except OSError as error:
            self._errors.close()
            raise InputError(
                f"{python} cannot be started: {error.strerror}. Correct the engine's `python`."
            ) from error
        self._end = weakref.finalize(self, _end, self._process, self._errors)

    @property
    def alive(self) -> bool:
        """Whether it can answer."""
        return self._end.alive and self._process.poll() is None

    def ask(self, question: Mapping[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """The answer. An interrupted question ends the child: its answer would come too late.

        Args:
            question: Any mapping that JSON can hold.
            timeout: Seconds after which a child that has not answered is killed; None waits
                without limit.

        Raises:
            GateError: The child died, or did not answer in time.
        """
        hung = threading.Event()
        watch = threading.Timer(timeout or 0, _kill, [self._process.pid, hung])
        watch.daemon = True
        try:
            if timeout is not None:
                watch.start()
            line = self._exchange(json.dumps(question) + "\n")
            if not line.endswith("\n"):
                late = f"It had not answered for {timeout:g} s. " if hung.is_set() else ""
                raise GateError(late + self._death_message())
            return json.loads(line)
        except BaseException:
            _kill_group(self._process.pid)  # its answer is of no use, so it need not end by itself
            self.end()
            raise
        finally:
            watch.cancel()

    def last_lines(self) -> str:
        """The last lines of its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-_LAST_LINES:])

    def end(self) -> None:
        """Ends the process and its children."""
        self._end()

    def _exchange(self, question: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(question)
            self._process.stdin.flush()
        except OSError:
            return ""
        return self._process.stdout.readline()

    def _death_message(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS_TO_END)
        status = self._process.poll()
        return (
            f"The process {self._process.args[0]} died (status {status}). "  # type: ignore[index]
            f"Its last lines:\n{self.last_lines()}"
        )


def _environment(python: str, further: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process, except those that point into its own environment."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES}
    path = os.pathsep.join([str(Path(python).parent), inherited.get("PATH", "")])
    return {**inherited, "PATH": path, **further}


def _kill(group: int, hung: threading.Event) -> None:
    """A function, since a timer with a method would keep a reference to its child."""
    hung.set()
    _kill_group(group)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _end(process: subprocess.Popen[str], errors: IO[bytes]) -> None:
    with suppress(OSError):
        process.stdin.close()  # type: ignore[union-attr]
    with suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_END)
    _kill_group(process.pid)
    process.wait()
    process.stdout.close()  # type: ignore[union-attr]
    errors.close()
