"""What it costs that nothing is ever lost: an iteration with shards, states and sums, and without.

Both run M2 of the microworld from the same M1, which is made first. Without them a run keeps no
shard of what it draws, no state of what it trains, and no manifest of what it has made.
"""

import itertools
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from kedro.framework.project import settings

from benchmarks.growth import SHORT, SMALL_WORLD
from benchmarks.project import hooked, inside, open_project, run_project, write_environment
from benchmarks.report import Table, contest
from benchmarks.rounds import Contestant, Setting, take_turns
from benchmarks.targets import OURS, Target

BARE = "without protections"
_TARGETS = {(OURS, BARE): Target(0.97)}
_QUICK = {**SMALL_WORLD, "prompts": {"count": [4], "max_written": [80], **SHORT}}
_DUBBED = "benchmarks.growth.DubbedEngine"
_DRAWING = "srlm_kedro.engines.generation.transformers.TransformersEngine"
_NOTE = "Units are iterations from M1 to M2, of the microworld's full size."


def run(setting: Setting) -> list[Table]:
    """One contest."""
    folder = setting.folder / "protection"
    open_project(folder)
    logging.disable(logging.WARNING)
    try:
        with inside(folder):
            rounds = replace(setting, rounds=1) if setting.quick else setting
            scores = take_turns(_contestants(folder, setting), rounds)
    finally:
        logging.disable(logging.NOTSET)
    return [contest("Overhead of protections", scores, "iteration", _TARGETS, [_NOTE])]


def _contestants(folder: Path, setting: Setting) -> list[Contestant]:
    numbers = itertools.count()

    def iteration(protected: bool) -> Callable[[], float]:
        def work() -> float:
            name = f"protection-{next(numbers)}"
            _configure(folder, name, setting, protected)
            kept = [hook for hook in settings.HOOKS if type(hook).__name__ != "FreshnessHooks"]
            with nullcontext() if protected else hooked(*kept):
                run_project(folder, name, pipeline_names=["iteration"])
            return 1.0

        return work

    _configure(folder, "foundation", setting, protected=True)
    run_project(folder, "foundation", pipeline_names=["foundation"])
    setting.say("  M1 is made")
    return [Contestant(OURS, iteration(True)), Contestant(BARE, iteration(False))]


def _configure(folder: Path, name: str, setting: Setting, protected: bool) -> None:
    """What a run makes lies in a folder of its own."""
    entry = {"type": "srlm_kedro.datasets.engine.EngineDataset"}
    options = {"dtype": "float32", "device": setting.device, "threads": 1}
    unfinished = "${globals:data}/unfinished"
    shards = {"shards": {"folder": f"{unfinished}/shards"}}
    states = {"resources": {"checkpoints": f"{unfinished}/training", "checkpoint_seconds": 30}}
    drawing = {**entry, "engine": _DUBBED if setting.quick else _DRAWING, "options": options}
    training = {
        **entry,
        "engine": "srlm_kedro.engines.training.trl.TrlEngine",
        "options": options,
    }
    files: dict[str, Any] = {
        "catalog": {
            "generation_engine": drawing | (shards if protected else {}),
            "training_engine": training | (states if protected else {}),
        },
        "parameters": _QUICK if setting.quick else {},
        "globals": {"own": f"/{name}"},
    }
    write_environment(folder, name, files)
