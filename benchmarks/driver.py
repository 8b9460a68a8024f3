"""The driver at scale: time and memory of the stages between prompts and pairs, by a script.

The engine makes up words at once, so what is measured is all else: requests, shards on disk,
tables, rewards and pairs. Each size runs in a process of its own.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks import peak
from benchmarks.children import told_by
from benchmarks.novelty import exponent
from benchmarks.report import Cell, Table
from benchmarks.rounds import Setting
from benchmarks.targets import Target
from srlm_kedro.datasets.parts import PartsDataset
from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.pipelines.judging.nodes import JudgingParams, judge_candidates
from srlm_kedro.pipelines.judging.rewards import reward_responses
from srlm_kedro.pipelines.pairs import PairsParams, make_pairs
from srlm_kedro.pipelines.responses import ResponsesParams, draw_responses
from srlm_kedro.records import Checkpoint, derive_seed

SIZES, QUICK = (2_000, 20_000, 200_000), (20, 40)
GROWTH, MEMORY = Target(1.05, at_least=False), Target(6.0, at_least=False)
_SHARD = 512
_RUBRIC = Path(__file__).parents[1] / "conf/base/prompts/additive_judge.txt"
_WORDS = [f"word{number}" for number in range(1000)]
_NOTE = (
    "Responses of 120 words, judgements of 60 in the paper's form (3 for each of 4 responses to a "
    "prompt), shards of 512. Seconds by the clock. `peak` is the most memory of the process in a "
    "stage, libraries included; the exponent is that of the last step."
)
Stages = dict[str, dict[str, float]]


class Words:
    """Makes up a response or a judgement of usual length."""

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of completions; those of judge prompts end with a score."""
        return [
            [self._one(request, derive_seed(seed, request.id, str(n))) for n in range(sampling.n)]
            for request in requests
        ]

    def release(self) -> None:
        """Nothing is held."""

    def _one(self, request: Request, seed: int) -> Completion:
        chance = random.Random(seed)
        judges = "-r" in request.id
        start = chance.randrange(len(_WORDS) - 120)
        text = " ".join(_WORDS[start : start + (60 if judges else 120)])
        text += f"\n\nScore: {chance.randrange(6)}" if judges else f" {seed % 10**6}"
        return Completion(text, 100, "stop")


def run(setting: Setting) -> Iterator[Table]:
    """A row a stage, with its seconds and its peak at each size."""
    sizes = QUICK if setting.quick else SIZES
    found: dict[int, Stages] = {}
    for size in sizes:
        found[size] = told_by("benchmarks.driver", [size, str(setting.folder / f"driver-{size}")])
        setting.say(f"  {size:,} prompts")
    rows = [_row(stage, sizes, found) for stage in found[sizes[0]]]
    yield Table(f"The driver: {sizes[-1]:,} prompts, {12 * sizes[-1]:,} judgements", rows, [_NOTE])


def _row(stage: str, sizes: Sequence[int], found: dict[int, Stages]) -> dict[str, Cell]:
    seconds = [found[size][stage]["seconds"] for size in sizes]
    last, most = exponent(sizes[-2:], seconds[-2:]), found[sizes[-1]][stage]["peak"]
    return {
        "stage": stage,
        **{f"{size:,} [s]": value for size, value in zip(sizes, seconds, strict=True)},
        "exponent": last,
        **{f"peak at {size:,} [GiB]": found[size][stage]["peak"] for size in sizes},
        "target": f"{GROWTH}, {MEMORY} GiB",
        "met": GROWTH.met(last) and MEMORY.met(most),
    }


def main() -> None:
    """Runs the stages at one size in a folder; says the seconds and the peak of each."""
    size, place = json.loads(sys.argv[1])
    folder = Path(place)
    folder.mkdir(parents=True)
    model, rubric = Checkpoint(folder, "m1"), _RUBRIC.read_text("utf-8")
    engine = ShardedEngine(Words(), "words", folder / "shards", _SHARD)
    responses = PartsDataset(str(folder / "responses.parquet"), whole=True)
    judgements = PartsDataset(str(folder / "judgements.parquet"))
    judged = folder / "judged.parquet"
    stages: Stages = {}

    def measured(stage: str, work: Callable[[], None]) -> None:
        peak.reset("cpu")
        start = time.perf_counter()
        work()
        engine.forget()
        stages[stage] = {"seconds": time.perf_counter() - start, "peak": peak.seen("cpu") / 2**30}

    def draw() -> None:
        prompts = [f"Write about {_WORDS[n % 1000]} and {_WORDS[n // 1000]}." for n in range(size)]
        table = pd.DataFrame({"prompt_id": [f"m2-p{n}" for n in range(size)], "prompt": prompts})
        responses.save(draw_responses(model, table, engine, ResponsesParams(), 0))

    def judge() -> None:
        given = model, responses.load(), rubric, engine, JudgingParams(), 0
        judgements.save(judge_candidates(*given))

    def reward() -> None:
        given = responses.load(), judgements.load(), rubric, JudgingParams()
        reward_responses(*given)[0].to_parquet(judged)

    def pair() -> None:
        make_pairs(pd.read_parquet(judged), PairsParams(), 0)[0].to_parquet(
            folder / "pairs.parquet"
        )

    for stage, work in {
        "responses": draw,
        "judging": judge,
        "rewards": reward,
        "pairs": pair,
    }.items():
        measured(stage, work)
    print(json.dumps(stages))


if __name__ == "__main__":
    main()
