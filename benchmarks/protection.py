"""What it costs that nothing is ever lost: an iteration with shards, states and sums, and without.

Both run M2 of the microworld from the same M1, which is made first. Without them a run keeps no
shard of what it draws, no state of what it trains, and no manifest of what it has made.
"""

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from kedro.framework.project import settings

from benchmarks.growth import SHORT, SMALL_WORLD
from benchmarks.project import (
    engine_entry,
    hooked,
    inside,
    open_project,
    quiet,
    run_project,
    write_environment,
)
from benchmarks.report import Table, contest
from benchmarks.rounds import Contestant, Setting, take_turns
from benchmarks.targets import OURS, Target
from srlm_kedro.freshness.hooks import FreshnessHooks

BARE = "without protections"
_TARGETS = {(OURS, BARE): Target(0.97)}
_QUICK = {**SMALL_WORLD, "prompts": {"count": [4], "max_written": [80], **SHORT}}
_DUBBED = "benchmarks.growth.DubbedEngine"
_DRAWING = "srlm_kedro.engines.generation.transformers.TransformersEngine"
_TRAINING = "srlm_kedro.engines.training.trl.TrlEngine"
_NOTE = "Units are iterations from M1 to M2, of the microworld's full size."


def run(setting: Setting) -> list[Table]:
    """One contest."""
    folder = setting.folder / "protection"
    open_project(folder)
    rounds = replace(setting, rounds=1) if setting.quick else setting
    with quiet(), inside(folder):
        scores = take_turns(_contestants(folder, setting), rounds)
    return [contest("Overhead of protections", scores, "iteration", _TARGETS, [_NOTE])]


def _contestants(folder: Path, setting: Setting) -> list[Contestant]:
    numbers = itertools.count()

    def iteration(protected: bool) -> Callable[[], float]:
        def work() -> float:
            name = f"protection-{next(numbers)}"
            _configure(folder, name, setting, protected)
            kept = [hook for hook in settings.HOOKS if not isinstance(hook, FreshnessHooks)]
            with nullcontext() if protected else hooked(*kept):
                run_project(folder, name, pipeline_names=["iteration"], namespaces=["m2"])
            return 1.0

        return work

    # M1 and what is measured of it is shared: a contestant makes what is M2's alone.
    _configure(folder, "foundation", setting, protected=True)
    run_project(folder, "foundation", pipeline_names=["foundation"])
    run_project(folder, "foundation", pipeline_names=["iteration"], namespaces=["sft", "m1"])
    setting.say("  M1 is made")
    return [Contestant(OURS, iteration(True)), Contestant(BARE, iteration(False))]


def _configure(folder: Path, name: str, setting: Setting, protected: bool) -> None:
    """What a run makes lies in a folder of its own."""
    options = {"dtype": "float32", "device": setting.device, "threads": 1}
    unfinished = "${globals:data}/unfinished"
    shards = {"shards": {"folder": f"{unfinished}/shards"}} if protected else {}
    states = {"checkpoints": f"{unfinished}/training", "checkpoint_seconds": 30}
    drawing = _DUBBED if setting.quick else _DRAWING
    files: dict[str, Any] = {
        "catalog": {
            "generation_engine": engine_entry(drawing, options, **shards),
            "training_engine": engine_entry(
                _TRAINING, options, **({"resources": states} if protected else {})
            ),
        },
        "parameters": _QUICK if setting.quick else {},
        "globals": {"own": f"/{name}"},
    }
    write_environment(folder, name, files)
