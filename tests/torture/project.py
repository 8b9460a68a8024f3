"""A project of its own, whose runs are children of this process that can be killed."""

import os
import select
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.project import copy_project, engine_entry, write_environment
from srlm_kedro.freshness.manifest import SUFFIX, content_digest, output_fault
from tests.torture.child import run_and_tell

_SHORT = {"sampling": {"max_new_tokens": 16}}
_LONG = {"sampling": {"max_new_tokens": 48}}
_PARAMETERS: dict[str, Any] = {
    "loop": {"iterations": 2, "pretrain": True},
    "microworld": {"corpus": {"documents": 400}},
    "pretraining": {"layers": 2, "hidden_size": 32, "heads": 2, "mlp_size": 64},
    "sft": {"epochs": 1},
    "eft": {"eval_prompts": 8, **_LONG},
    "prompts": {"count": [24], "max_written": [400], **_SHORT},
    "responses": _SHORT,
    "judging": _LONG,
    "dpo": {"batch_size": 4, "micro_batch_size": 2},
    "evaluation": {
        "judging": {"n": 1, "max_new_tokens": 48},
        "sampling": {"n": 2, "max_new_tokens": 16},
    },
    "selection": {"judging": {"max_new_tokens": 48}, **_SHORT},
}
_LONGEST = 600.0
"""Seconds after which a run that says nothing counts as hung."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    nodes: list[tuple[str, float]]
    """Nodes that it began, and when, in seconds since its start."""
    status: int
    """0: it came to its end; -9: killed."""


class TortureProject:
    """A copy of `conf/` and the seed data, and what runs leave there."""

    def __init__(self, folder: Path, scripted: bool, overlay: str | None = None) -> None:
        """Real engines on a tiny model, or `scripted` ones for a run of seconds.

        Args:
            folder: The project's.
            scripted: Which engines.
            overlay: An environment that says where the work is done.
        """
        own = "test" if scripted else "torture"
        self.folder, self._env = folder, f"{own}+{overlay}" if overlay else own
        copy_project(folder)
        if not scripted:
            _write_environment(folder)

    def run(self, kill: "Kill | None" = None, writes: dict[str, int] | None = None) -> Ended:
        """A run in a child; killed as `kill` says, or before the so-manyth writing call of a node.

        The child's own words go to `run.log` in the project.
        """
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            run_and_tell(self.folder, self._env, writing, writes or {})
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as told:
            nodes = list(_watched(told, child, kill))
        _, status = os.waitpid(child, 0)
        return Ended(nodes, os.waitstatus_to_exitcode(status))

    def wipe(self) -> None:
        """As on the first day."""
        for layer in self.folder.glob("data/*"):
            if layer.name != "01_raw":
                shutil.rmtree(layer) if layer.is_dir() else layer.unlink()
        shutil.rmtree(self.folder / "mlruns")
        (self.folder / "mlruns").mkdir()

    def outputs(self, whole: bool) -> dict[str, str]:
        """Digest of each output that counts as whole, or of `whole` run's every file."""
        data = self.folder / "data"
        if not whole:
            notes = data.glob(f"0[2-8]*/**/*{SUFFIX}")
            made = [note.with_name(note.name.removesuffix(SUFFIX)) for note in notes]
            made = [path for path in made if output_fault(path) is None]
        else:
            files = (path for path in data.glob("0[2-8]*/**/*") if path.is_file())
            made = [path for path in files if not path.name.endswith(SUFFIX)]
        return {str(path.relative_to(data)): content_digest(path) for path in made}

    def points(self) -> dict[tuple[str, str, int], list[float]]:
        """Every metric in MLflow: values by model, name and step."""
        found: dict[tuple[str, str, int], list[float]] = {}
        query = (
            "select coalesce(t.value, 'parent'), m.key, m.step, m.value from metrics m "
            "join runs r on r.run_uuid = m.run_uuid and r.status = 'FINISHED' "
            "left join tags t on t.run_uuid = m.run_uuid and t.key = 'model'"
        )
        for model, key, step, value in self._ask(query):
            found.setdefault((model, key, step), []).append(value)
        return {name: sorted(values) for name, values in found.items()}

    def statuses(self) -> list[str]:
        """Statuses of MLflow's runs."""
        return [status for (status,) in self._ask("select status from runs")]

    def _ask(self, query: str) -> list[Any]:
        with sqlite3.connect(self.folder / "mlruns/mlflow.db") as database:
            return database.execute(query).fetchall()


@dataclass(frozen=True)
class Kill:
    """So many seconds after a node has begun."""

    node: str
    after: float


def _watched(told: Any, child: int, kill: Kill | None) -> Iterator[tuple[str, float]]:
    """Nodes as they begin; the child is killed when its time has come."""
    start, due = time.monotonic(), None
    rest = b""
    while True:
        patience = _LONGEST if due is None else max(0.0, due - time.monotonic())
        if not select.select([told], [], [], patience)[0]:
            os.killpg(child, signal.SIGKILL)
            due = None
            continue
        chunk = told.read(4096)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name = line.decode()
            yield name, time.monotonic() - start
            if kill and name == kill.node:
                due = time.monotonic() + kill.after


def _write_environment(folder: Path) -> None:
    unfinished = "${runtime_params:data,${globals:data}}/unfinished"
    options = {"dtype": "float32", "device": "cpu", "threads": 1}
    catalog = {
        "generation_engine": engine_entry(
            "benchmarks.growth.DubbedEngine",
            options,
            shards={"folder": f"{unfinished}/shards", "completions": 48},
        ),
        "training_engine": engine_entry(
            "srlm_kedro.engines.training.trl.TrlEngine",
            options,
            resources={"checkpoints": f"{unfinished}/training", "checkpoint_seconds": 0},
        ),
    }
    write_environment(folder, "torture", {"catalog": catalog, "parameters": _PARAMETERS})
