"""A server of a model that this process starts: it listens on this machine, and ends with us."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srlm_kedro.engines.guarded import GuardedProgram
from srlm_kedro.engines.machine import free_port
from srlm_kedro.errors import GateError, InputError

_OWN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_API_KEY")
"""Variables that point into the environment of this process, and a key that the server would ask
for."""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks a server on this machine, whatever proxies the environment names."""
_PAUSE = 0.2
"""Seconds between two looks at a server that loads its model."""


class LocalServer:
    """A running server that speaks the OpenAI protocol."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        """Starts it; `wait` waits until it answers.

        Args:
            command: The program and its arguments. `{port}` in them becomes a free port.
            environment: Variables in addition to those of this process.

        Raises:
            InputError: The program cannot be found.
        """
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        self._command = [part.replace("{port}", str(port)) for part in command]
        variables = _environment(self._command[0], environment)
        _refuse_no_program(self._command[0], variables)
        self.program = GuardedProgram(self._command, variables)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.program.status is None

    def wait(self, patience: float) -> dict[str, Any]:
        """What the server says of its model, once it answers.

        Raises:
            InputError: It ended before; the message has its last lines.
            GateError: It had not answered after so many seconds, and is ended.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if not self.alive:
                raise InputError(
                    f"{' '.join(self._command[:4])} ... ended with status {self.program.status} "
                    "and served nothing. Correct the engine's options, or install the server "
                    f"there. Its last lines:\n{self.program.last_lines()}"
                )
            if found := self._model():
                return found
            time.sleep(_PAUSE)
        lines = self.program.last_lines()
        self.program.end()
        raise GateError(
            f"{' '.join(self._command[:4])} ... had not loaded its model after {patience:g} s "
            f"(`patience` of the generation engine). Its last lines:\n{lines}"
        )

    def _model(self) -> dict[str, Any] | None:
        """The server's entry of its model; None if it does not answer yet."""
        try:
            with _DIRECT.open(f"{self.url}/models", timeout=10) as reply:
                return json.load(reply)["data"][0]
        except (OSError, ValueError, LookupError, urllib.error.URLError):
            return None


def _environment(program: str, further: Mapping[str, str]) -> dict[str, str]:
    """The variables of this process, except those that point into its own environment."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES}
    path = os.pathsep.join([str(Path(program).parent), inherited.get("PATH", "")])
    return {**inherited, "PATH": path, **further}


def refuse_without(python: str, package: str, environment: Mapping[str, str]) -> None:
    """Checks that an interpreter's environment has a package, which is not imported.

    Args:
        python: The interpreter.
        package: Its name.
        environment: Variables in addition to those of this process.

    Raises:
        InputError: There is no such interpreter, or it has no such package.
    """
    variables = _environment(python, environment)
    _refuse_no_program(python, variables)
    looking = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({package!r}))"
    if subprocess.run([python, "-c", looking], env=variables, capture_output=True).returncode:
        raise InputError(
            f"{python}: no package {package} is installed there. Install it, or correct the "
            "engine's entry in the catalog."
        )


def _refuse_no_program(name: str, variables: Mapping[str, str]) -> None:
    if shutil.which(name, path=variables["PATH"]) is None:
        raise InputError(
            f"{name} cannot be started: there is no such program. Correct the engine's entry in "
            "the catalog."
        )
