"""Replicas: what Ray costs, one replica against the same engine in this process, by the clock."""

import shutil
import statistics
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.models import SMALL, TINY, make
from benchmarks.report import Table
from benchmarks.rounds import Setting
from benchmarks.targets import Target
from benchmarks.work import judging
from srlm_kedro.engines.generation.replicas.replicas import Replicas
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.engines.generation.transformers import TransformersEngine

OVERHEAD = Target(1.05, at_least=False)
_SEED = 1
_RESPONSES, _QUICK = 1024, 4
_SHARD = 512
_NOTE = (
    "Seconds by the clock, medians; the replica and its model are there before. Ratios are of the "
    "same round. Both draw the same shards of 512 completions and write them to disk."
)


def run(setting: Setting) -> Iterator[Table]:
    """A row for each way; nothing without Ray."""
    try:
        import ray
    except ImportError:
        setting.say("  Ray is not installed")
        return
    shape, responses = (TINY, _QUICK) if setting.quick else (SMALL, _RESPONSES)
    checkpoint = make(shape, setting.folder / shape.name)
    work = judging(checkpoint, shape, responses, setting.quick)
    build = partial(TransformersEngine, "float32", setting.device, 1)
    gpus = 0 if setting.device == "cpu" else 1
    replicas = Replicas(build, setting.folder / "probe", count=1, gpus=gpus)
    shards = setting.folder / "shards"
    ways = {
        "in this process": ShardedEngine(build(), "recipe", shards, _SHARD),
        "one replica": ShardedEngine(build(), "recipe", shards, _SHARD, replicas),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    try:
        for number in range(setting.rounds + 1):
            for name, engine in ways.items():
                start = time.perf_counter()
                engine.generate(work.checkpoint, work.requests, work.sampling, _SEED)
                if number:  # the first round warms up
                    taken[name].append(time.perf_counter() - start)
                shutil.rmtree(shards)
            setting.say(f"  round {number} of {setting.rounds}")
    finally:
        replicas.release()
        ray.shutdown()
    alone, replica = taken.values()
    times = statistics.median(two / one for one, two in zip(alone, replica, strict=True))
    rows = [
        {"judging": name, "seconds": statistics.median(found), "rounds": len(found)}
        for name, found in taken.items()
    ]
    rows[1] |= {"times as long": times, "target": str(OVERHEAD), "met": OVERHEAD.met(times)}
    amount = f"{responses} responses x {work.samples} judgements of {work.new_tokens} tokens"
    yield Table(f"One replica on Ray: {amount}, {shape.name}", rows, [_NOTE])
