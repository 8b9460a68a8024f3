"""Runs experiments in a project of their own; the same again goes on where it was."""

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml

from benchmarks.project import inside, open_project, quiet, run_project, stopped_in_words
from evidence.experiments import Experiment
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.freshness.digests import write_atomically

_NOTES = "evidence.json"


def run_all(
    folder: Path,
    experiments: Sequence[Experiment],
    seeds: Sequence[int],
    scripted: bool,
    threads: int | None = None,
) -> None:
    """Each experiment with each seed, seed by seed; what a gate stops is noted, the others go on.

    Args:
        folder: The project's; made, or continued.
        experiments: The main run first.
        seeds: Of the loop.
        scripted: With engines that have no model, and small numbers: that it runs, no figure.
        threads: Of the CPU; None: as the project says.
    """
    open_project(folder)
    if threads is not None:
        _set_threads(folder / "conf/base/globals.yml", threads)
    with stopped_in_words(), inside(folder), quiet() if scripted else nullcontext():
        for seed in seeds:
            for experiment in experiments:
                print(f"seed {seed}, {experiment.title}", flush=True)
                _run(folder, experiment, seed, scripted)


def _set_threads(file: Path, threads: int) -> None:
    said, found = re.subn(r"(?m)^threads: \d+", f"threads: {threads}", file.read_text("utf-8"))
    if not found:
        raise InputError(f"{file}: no line `threads: 2` to change. Put it back, or drop --threads.")
    file.write_text(said, "utf-8")


def _run(folder: Path, experiment: Experiment, seed: int, scripted: bool) -> None:
    env = _scripted(folder, experiment.env) if scripted else experiment.env
    stopped = notes(folder)["stopped"]
    stopped.pop(f"{experiment.name}, seed {seed}", None)
    try:
        run_project(folder, env, experiment.parameters(seed, quick=scripted))
    except GateError as error:
        stopped[f"{experiment.name}, seed {seed}"] = str(error)
    _note(folder, stopped=stopped)


def notes(folder: Path) -> dict[str, Any]:
    """`commands` that made the runs, and `stopped`: messages of gates, by experiment and seed."""
    file = folder / _NOTES
    return json.loads(file.read_text("utf-8")) if file.exists() else {"commands": [], "stopped": {}}


def note_command(folder: Path, command: str) -> None:
    """Keeps it, once."""
    folder.mkdir(parents=True, exist_ok=True)
    _note(folder, commands=list(dict.fromkeys([*notes(folder)["commands"], command])))


def _note(folder: Path, **values: Any) -> None:
    write_atomically(folder / _NOTES, json.dumps(notes(folder) | values, indent=1).encode())


def _scripted(folder: Path, env: str | None) -> str:
    """The environment `test`, or a control's with its engines and numbers put in."""
    if env is None:
        return "test"
    for name in ("catalog", "parameters"):
        test, own = (_read(folder / f"conf/{each}/{name}.yml") for each in ("test", env))
        if "external_judge_engine" in own:
            own["external_judge_engine"] = test["generation_engine"]
        merged = {key: _both(own.get(key), test.get(key)) for key in {**own, **test}}
        (folder / f"conf/{env}/{name}.yml").write_text(yaml.safe_dump(merged), "utf-8")
    return env


def _both(own: Any, test: Any) -> Any:
    if isinstance(own, dict) and isinstance(test, dict):
        return own | test
    return own if test is None else test


def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text("utf-8")) if file.exists() else {}
