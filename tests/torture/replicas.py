"""`python -m tests.torture.replicas`: kills replicas while they draw; status 1 on a loss.

The rows must be those of one engine, and each shard must be drawn into the table once.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ray

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.replicas.replicas import Replicas
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.engines.generation.transformers import TransformersEngine
from tests.engines.models import write_model
from tests.torture.processes import killing, running

_SAMPLING = Sampling(n=4, max_new_tokens=32)
_COMPLETIONS = 64
_SECONDS_BETWEEN = 6.0


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.replicas", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="(50)")
    parser.add_argument("--replicas", type=int, default=2, help="(2)")
    parser.add_argument("--requests", type=int, default=4000, help="of a call (4000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random instants")
    options = parser.parse_args()
    requests = [Request(f"r{n}", f"w1 w{n % 30} w{n % 17}") for n in range(options.requests)]
    chance, faults, kills, calls = random.Random(options.seed), [], 0, 0
    build = partial(TransformersEngine, device="cpu", threads=1)
    with tempfile.TemporaryDirectory(prefix="torture-replicas-") as name:
        folder = Path(name)
        model = write_model(folder / "m0")
        alone = ShardedEngine(build(), "recipe", folder / "alone", _COMPLETIONS)
        start = time.monotonic()
        expected = alone.generate(model, requests, _SAMPLING, 1)
        print(f"One engine: {time.monotonic() - start:.0f} s.", flush=True)
        replicas = Replicas(build, folder / "probe", options.replicas, gpus=0, tries=100)
        drawn = _counted(replicas)
        while kills < options.kills and not faults:
            engine = ShardedEngine(build(), "recipe", folder / "shards", _COMPLETIONS, replicas)
            wanted = options.kills - kills
            with killing(lambda: _living(replicas), chance, _SECONDS_BETWEEN, wanted) as killed:
                found = engine.generate(model, requests, _SAMPLING, 1)
            engine.forget()
            calls, kills = calls + 1, kills + len(killed)
            print(f"  {len(killed)} kills in a call", flush=True)
            if found != expected:
                faults.append(f"other rows after {len(killed)} kills")
            shards = -(-len(requests) * _SAMPLING.n // _COMPLETIONS)
            if drawn != Counter(range(shards)):
                faults.append(f"shards were drawn into the table {sorted(drawn.values())} times")
            drawn.clear()
        replaced = replicas._pool.replaced
        replicas.release()
        ray.shutdown()
    print(
        "\n".join(faults) or f"{kills} kills in {calls} calls, {replaced} replaced: nothing lost."
    )
    return bool(faults)


def _counted(replicas: Replicas) -> Counter[int]:
    """How often each shard was given to the table."""
    drawn, draw = Counter(), replicas.in_any_order

    def counting(shards, call):
        for place, rows in draw(shards, call):
            drawn[place] += 1
            yield place, rows

    replicas.in_any_order = counting
    return drawn


def _living(replicas: Replicas) -> list[int]:
    """The processes of the replicas: Ray gives them a title."""
    return running(lambda title: title.startswith(b"ray::Replica"))


if __name__ == "__main__":
    sys.exit(main())
