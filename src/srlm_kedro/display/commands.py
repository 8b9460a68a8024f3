"""Commands as a user types them: the one of this process, and others with its environment."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = "srlm_kedro"
_KEPT = (("--env", "-e"), ("--conf-source",))
"""Options that say what a run is about, with their short names."""
_PARAMS = ("--params",)
_OWN = ("iteration", "readiness", "estimate")
"""Pipelines with parameters of the same name, which mean nothing to others."""


def this_command() -> str:
    """The command of this process, as a user types it."""
    return f"{_program()} {shlex.join(sys.argv[1:])}"


def run_command(pipeline: str = "", params: Mapping[str, str] | None = None) -> str:
    """A `kedro run` with the environment and the parameters of this process's command.

    Args:
        pipeline: The pipeline that it runs; the default pipeline if empty.
        params: Parameters by their dotted names; they replace those of this process.
    """
    program = {_PACKAGE: f"python -m {_PACKAGE}"}.get(_program(), f"{_kedro() or 'kedro'} run")
    options = [f"{names[0]}={value}" for names in _KEPT if (value := _option(names))]
    if pipeline:
        options.append(f"--pipeline={pipeline}")
    if given := _params(pipeline) | dict(params or {}):
        options.append("--params=" + ",".join(f"{name}={value}" for name, value in given.items()))
    return " ".join([program, *map(shlex.quote, options)])


def _program() -> str:
    script = Path(sys.argv[0])
    return script.parent.name if script.name == "__main__.py" else script.name


def _kedro() -> str:
    """How kedro was called: it names itself `python -m kedro` then; empty for another program."""
    program = _program()
    return program if program in ("kedro", "python -m kedro") else ""


def _params(pipeline: str) -> dict[str, str]:
    """The parameters of this process's command, without those that only its pipeline reads."""
    items = (item.partition("=") for item in _option(_PARAMS).split(",") if "=" in item)
    given = {name.strip(): value for name, _, value in items}
    others = [name for name in _OWN if name != pipeline]
    return {name: value for name, value in given.items() if name.split(".")[0] not in others}


def _option(names: tuple[str, ...]) -> str:
    """The value of an option of this process's command; empty if it is not there."""
    if not (_kedro() or _program() == _PACKAGE):
        return ""  # a notebook or a program of its own, whose options are others
    words, found = sys.argv[1:], ""
    for place, word in enumerate(words):
        for name in names:
            if word == name:
                found = next(iter(words[place + 1 :]), "")
            elif word.startswith(f"{name}="):
                found = word.removeprefix(f"{name}=")
            elif not name.startswith("--") and word.startswith(name):
                found = word.removeprefix(name)
    return found
