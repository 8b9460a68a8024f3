"""A child process in another environment that answers each JSON line with one."""

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

_SHOWN = 12
"""Last lines of a child's output that a message shows."""
_PATIENCE = 60
"""Seconds that a child has for its own end."""
_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class Child:
    """Runs a script until `end`, or until nobody holds it any more; it dies with its parent."""

    def __init__(self, python: str, script: Path, environment: Mapping[str, str]):
        """Starts the script.

        Args:
            python: The interpreter.
            script: What it runs; reads JSON lines and ends with its input.
            environment: Variables beside those of this process.

        Raises:
            InputError: The interpreter cannot be started.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _end)
        try:
            self._process = subprocess.Popen(
                [python, "-u", str(script)],  # what it prints is told even if it is killed
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_environment(python, environment),
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Its own children end with it.
            )
        except OSError as error:
            self._errors.close()
            raise InputError(
                f"{python} cannot be started: {error.strerror}. Correct the engine's `python`."
            ) from error
        self._end = weakref.finalize(self, _end, self._process, self._errors)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._end.alive and self._process.poll() is None

    def ask(self, question: Mapping[str, Any], patience: float | None = None) -> dict[str, Any]:
        """The answer; an interrupted question ends the child, for its answer would come later.

        Args:
            question: Any mapping that JSON can hold.
            patience: Seconds after which a child that has not answered counts as hung and is
                killed; None waits for ever.

        Raises:
            GateError: The child died, or hung.
        """
        hung = threading.Event()
        watch = threading.Timer(patience or 0, _kill, [self._process.pid, hung])
        watch.daemon = True
        try:
            if patience is not None:
                watch.start()
            line = self._exchange(json.dumps(question) + "\n")
            if not line.endswith("\n"):
                said = f"It had not answered for {patience:g} s. " if hung.is_set() else ""
                raise GateError(said + self._obituary())
            return json.loads(line)
        except BaseException:
            _kill_group(self._process.pid)  # its answer is of no use: no need to be patient
            self.end()
            raise
        finally:
            watch.cancel()

    def last_words(self) -> str:
        """The last lines that it wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-_SHOWN:])

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

    def _obituary(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        status = self._process.poll()
        return (
            f"The process {self._process.args[0]} died (status {status}). "  # type: ignore[index]
            f"Its last lines:\n{self.last_words()}"
        )


def _environment(python: str, further: Mapping[str, str]) -> dict[str, str]:
    """This process's variables without those that lead into its own environment."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
    path = os.pathsep.join([str(Path(python).parent), inherited.get("PATH", "")])
    return {**inherited, "PATH": path, **further}


def _kill(group: int, hung: threading.Event) -> None:
    """Not a method: a timer would keep its child from being let go."""
    hung.set()
    _kill_group(group)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _end(process: subprocess.Popen[str], errors: IO[bytes]) -> None:
    with suppress(OSError):
        process.stdin.close()  # type: ignore[union-attr]
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    _kill_group(process.pid)
    process.wait()
    process.stdout.close()  # type: ignore[union-attr]
    errors.close()
