"""Growth: processor time of an iteration's stages against its number of prompts.

The real pipelines run as `kedro run --pipeline=iteration` runs them, in a project of their own,
with the real engines, from a model of the microworld that has hardly been trained. It does all the
work; what it says is then replaced by a script's words, which parse, so that every later stage has
its rows. An exponent is the slope of log time on log size. Beside the slope over all sizes stands
that of the last step, where what a stage costs at any size hides its growth the least.
"""

import inspect
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.framework.project import settings
from kedro.pipeline.node import Node

from benchmarks.novelty import exponent
from benchmarks.project import (
    engine_entry,
    hooked,
    inside,
    open_project,
    quiet,
    run_project,
    write_environment,
)
from benchmarks.report import Cell, Table
from benchmarks.rounds import Setting
from benchmarks.targets import Target
from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.microworld.instructions import make, phrase
from srlm_kedro.records import Checkpoint, derive_seed

GROWTH = Target(1.05, at_least=False)
SIZES = (32, 128, 512, 2048)
QUICK = (4, 8)
START = "before the first stage"
_ENGINE = {"dtype": "float32", "threads": 1}
# The model is tiny and completions are short: both are the same at every size. M1 is made in a
# minute, for what it says does not matter.
SHORT = {"sampling": {"max_new_tokens": 16}}
SMALL_WORLD = {
    "microworld": {"corpus": {"documents": 400}},
    "pretraining": {"layers": 2, "hidden_size": 64, "mlp_size": 128},
    "sft": {"epochs": 1},
    "eft": {"eval_prompts": 8, **SHORT},
    "responses": SHORT,
    "judging": SHORT,
    "evaluation": {"judging": {"max_new_tokens": 16}, **SHORT},
    "selection": {"judging": {"max_new_tokens": 16}, **SHORT},
}
_NOTE = (
    "Processor seconds of loading, running and saving, medians. The exponent is judged on the last "
    "step: what a stage costs at any size (tables, a model that is read) hides it least there."
)

Seconds = dict[str, float]


class DubbedEngine:
    """The transformers engine at work, with a script's words in the place of what it drew."""

    def __init__(self, dtype: str, device: str, threads: int) -> None:
        self._worker = TransformersEngine(dtype=dtype, device=device, threads=threads)
        self._script = ScriptedEngine()

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of the script, after rows as many and of full length were drawn."""
        self._worker.generate(model, requests, sampling, seed)
        if requests and not requests[0].chat:  # New prompts: as many different ones as it takes.
            return [_tasks(request, sampling, seed) for request in requests]
        return self._script.generate(model, requests, sampling, seed)

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """What the worker says."""
        return self._worker.length_faults(model, requests, sampling)

    def release(self) -> None:
        """Drops the worker's model."""
        self._worker.release()


class Clock:
    """A hook that charges processor time to the node at work: loading, running, saving."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}
        self._stage = START
        self._since = 0.0

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Starts at nought."""
        self.seconds, self._stage, self._since = {}, START, time.process_time()

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """A node begins with its first input."""
        self._charge()
        self._stage = _stage(node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """A node without inputs begins here."""
        self._charge()
        self._stage = _stage(node)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """The last node ends."""
        self._charge()

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._since = now


def run(setting: Setting) -> list[Table]:
    """One table: a row a stage, with its seconds at each size and its exponents."""
    sizes = QUICK if setting.quick else SIZES
    rounds = 1 if setting.quick else min(setting.rounds, 2)
    with _project(setting) as project:
        project.run("foundation", 0, sizes[0])
        setting.say("  M1 is made")
        project.run("iteration", 0, sizes[0])  # warms up: what is imported and compiled once
        measured: list[list[Seconds]] = []
        for number in range(1, rounds + 1):
            measured.append([project.run("iteration", number, size) for size in sizes])
            setting.say(f"  round {number} of {rounds}")
    return [_table(sizes, measured)]


class _Project:
    """Where an iteration of any size can be run."""

    def __init__(self, folder: Path, device: str) -> None:
        self._folder, self._device = folder, device
        open_project(folder)
        self._clock = Clock()

    def run(self, pipeline: str, number: int, size: int) -> Seconds:
        """Runs a pipeline; M2 and what leads to it lie in a folder of this number and size."""
        name = f"growth-{number}-{size}"
        self._configure(name, size)
        with hooked(*settings.HOOKS, self._clock):
            run_project(self._folder, name, pipeline_names=[pipeline])
        return self._clock.seconds

    def _configure(self, name: str, size: int) -> None:
        engines = {
            "generation_engine": "benchmarks.growth.DubbedEngine",
            "training_engine": "srlm_kedro.engines.training.trl.TrlEngine",
        }
        options = {**_ENGINE, "device": self._device}
        catalog = {entry: engine_entry(engine, options) for entry, engine in engines.items()}
        written = {"count": [size], "max_written": [20 * size], **SHORT}
        parameters = {**SMALL_WORLD, "prompts": written}
        globals_ = {"own": f"/{name}"}
        files = {"catalog": catalog, "parameters": parameters, "globals": globals_}
        write_environment(self._folder, name, files)


@contextmanager
def _project(setting: Setting) -> Iterator[_Project]:
    """The project; the working folder is inside it."""
    folder = setting.folder / "growth"
    folder.mkdir()
    with quiet(), inside(folder):
        yield _Project(folder, setting.device)


def _tasks(request: Request, sampling: Sampling, seed: int) -> list[Completion]:
    """Tasks of the microworld's grammar."""
    chance = random.Random(derive_seed(seed, "tasks", request.id))
    texts = [phrase(make(chance), chance) for _ in range(sampling.n)]
    return [Completion(text, len(text.split()) + 1, "stop") for text in texts]


def _stage(node: Node) -> str:
    """The folder of the stage that a node belongs to."""
    return inspect.unwrap(node.func).__module__.split(".")[2]


def _table(sizes: Sequence[int], measured: Sequence[Sequence[Seconds]]) -> Table:
    stages = sorted({stage for each in measured for seconds in each for stage in seconds})
    rows = []
    for stage in stages:
        rounds = [[seconds.get(stage, 0.0) for seconds in each] for each in measured]
        rows.append(_row(stage, sizes, rounds))
    whole = [[sum(seconds.values()) for seconds in each] for each in measured]
    rows.sort(key=lambda row: -row[_column(sizes[-1])])
    return Table("Growth of an iteration", [_row("all", sizes, whole), *rows], [_NOTE])


def _row(stage: str, sizes: Sequence[int], rounds: Sequence[Sequence[float]]) -> dict[str, Cell]:
    seconds = [statistics.median(each) for each in zip(*rounds, strict=True)]
    last = exponent(sizes[-2:], seconds[-2:])
    return {
        "stage": stage,
        **{_column(size): figure for size, figure in zip(sizes, seconds, strict=True)},
        "exponent": exponent(sizes, seconds),
        "of the last step": last,
        "rounds": len(rounds),
        "target": str(GROWTH),
        "met": GROWTH.met(last),
    }


def _column(size: int) -> str:
    return f"{size} prompts [s]"
