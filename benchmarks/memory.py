"""Peak memory of judging under two budgets, each in a process of its own.

What counts is the most memory that the process held while it judged, above what it held with the
model loaded and a first token drawn.
"""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import peak
from benchmarks.children import told_by
from benchmarks.models import LARGE, SMALL, TINY, Shape, make
from benchmarks.report import Cell, Table
from benchmarks.rounds import Setting, seconds
from benchmarks.targets import Target
from benchmarks.work import judging
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.records import Checkpoint

_SHAPES = {shape.name: shape for shape in (TINY, SMALL, LARGE)}
_MIB = 2**20
_WITHIN = Target(1, at_least=False)
_SEED = 1


def run(setting: Setting) -> list[Table]:
    """A row a budget."""
    shape, responses, budgets = _case(setting)
    title = f"Peak memory of judging, {shape.name}: {responses} responses x 3"
    if not peak.is_kept(setting.device):
        return [Table(title, [], ["This system keeps no peak that can be set back."])]
    checkpoint = make(shape, setting.folder / shape.name)
    rows = []
    for budget in budgets:
        setting.say(f"memory, {budget} GiB")
        rows.append(_row(checkpoint, shape, responses, budget, setting))
    return [Table(title, rows)]


def _case(setting: Setting) -> tuple[Shape, int, tuple[float, ...]]:
    if setting.quick:
        return TINY, 4, (0.25,)
    if setting.device == "cuda":
        return LARGE, 512, (2, 8)
    return SMALL, 96, (0.125, 0.5)


def _row(
    checkpoint: Checkpoint, shape: Shape, responses: int, budget: float, setting: Setting
) -> dict[str, Cell]:
    asked = [str(checkpoint.path), shape.name, responses, budget, setting.device, setting.quick]
    told = [told_by("benchmarks.memory", asked) for _ in range(1 if setting.quick else 2)]
    peaks = [each["peak"] / _MIB for each in told]
    share = max(peaks) / (budget * 1024)
    return {
        "budget, MiB": budget * 1024,
        "peak, MiB": statistics.median(peaks),
        "lowest": min(peaks),
        "highest": max(peaks),
        "rounds": len(peaks),
        "tokens/s": statistics.median(each["rate"] for each in told),
        "highest / budget": share,
        "target": str(_WITHIN),
        "met": _WITHIN.met(share),
    }


def main() -> None:
    """Judges within the budget; says the peak in bytes, and tokens a second."""
    path, shape, responses, budget, device, quick = json.loads(sys.argv[1])
    work = judging(Checkpoint(Path(path), "m0"), _SHAPES[shape], responses, quick)
    threads = 1 if device == "cpu" else None
    engine = TransformersEngine(device=device, threads=threads, memory_gib=budget)
    first = replace(work, samples=1, new_tokens=1)
    engine.generate(work.checkpoint, work.requests[:1], first.sampling, _SEED)
    held, start = peak.reset(device), seconds(device)
    engine.generate(work.checkpoint, work.requests, work.sampling, _SEED)
    rate = work.drawn(responses) / (seconds(device) - start)
    print(json.dumps({"peak": peak.seen(device) - held, "rate": rate}))


if __name__ == "__main__":
    main()
