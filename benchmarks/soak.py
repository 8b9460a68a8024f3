"""`python -m benchmarks.soak`: many iterations in one go; does memory or the disk grow?

It runs the microworld to M10 in a project of its own and tells of each model the most memory that
its nodes held, how many models kept their weights, what the judge said and how long responses were.
Status 1 where the last iteration's peak is more than 5% above the second's, where more weights lie
on disk than `keep_models` allows, or where an iteration lacks a metric that another one has.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.framework.project import settings
from kedro.pipeline.node import Node

from benchmarks import peak
from benchmarks.project import hooked, inside, open_project, run_project
from benchmarks.report import Cell, table_lines
from benchmarks.targets import Target

GROWTH = Target(1.05, at_least=False)
_ALWAYS_KEPT = 3
"""Models whose weights no policy deletes: M0, SFT and M1."""
_AT_WORK = 1
"""And the one that is being made while an older one is still needed."""
_SHOWN = {
    "mean score": "eval/mean_score",
    "W-L previous": "eval/win_minus_loss_vs_previous",
    "W-L SFT": "eval/win_minus_loss_vs_sft",
    "length [tokens]": "eval/mean_length",
    "items wrong": "eval/items_wrong",
    "constraints missed": "eval/constraints_missed",
    "judge, pairwise [%]": "eval/pairwise_accuracy",
    "mean reward": "judge/mean_reward",
    "full reward": "judge/saturation",
    "tied": "judge/tied_prompts",
    "pairs": "pairs/count",
    "chosen longer": "pairs/chosen_longer",
}


class Watch:
    """A hook that notes, of each model, the peak of memory [MiB], seconds and weights on disk."""

    def __init__(self, models: Path) -> None:
        self._models = models
        self.peaks: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.weights: dict[str, int] = {}
        self._began = 0.0

    @hook_impl
    def before_dataset_loaded(self) -> None:
        """A node begins; of what it loads, the first call counts."""
        self._began = self._began or time.perf_counter()

    @hook_impl
    def before_node_run(self) -> None:
        """A node without inputs begins here."""
        self._began = self._began or time.perf_counter()

    @hook_impl(trylast=True)
    def after_dataset_saved(self, node: Node) -> None:
        """Charges what came since the last one to the node's model."""
        model = node.name.partition(".")[0]
        passed = time.perf_counter() - self._began
        on_disk = len(list(self._models.glob("*/model.safetensors")))
        self.peaks[model] = max(self.peaks.get(model, 0.0), peak.seen("cpu") / 2**20)
        self.seconds[model] = self.seconds.get(model, 0.0) + passed
        self.weights[model] = max(self.weights.get(model, 0), on_disk)
        self._began = time.perf_counter()
        peak.reset("cpu")


def main() -> int:
    """Runs it; the table goes to the screen and, as JSON, into the project's folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=_said())
    parser.add_argument("--iterations", type=int, default=10, help="the last model is M10 (10)")
    parser.add_argument("--keep-models", type=int, default=2, help="the run's keep_models (2)")
    parser.add_argument("--seed", type=int, default=0, help="of the loop (0)")
    parser.add_argument("--folder", type=Path, help="where the project is kept, made or continued")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="soak-"))).resolve()
    open_project(folder)
    watch = Watch(folder / "data/06_models")
    loop = {"iterations": options.iterations}
    others = {"keep_models": options.keep_models, "seed": options.seed}
    with inside(folder):
        peak.reset("cpu")
        with hooked(*settings.HOOKS, watch):
            run_project(folder, parameters={"loop": loop, **others})
    models = ["m0", "sft", *(f"m{t}" for t in range(1, options.iterations + 1))]
    metrics = {model: _metrics(folder, model) for model in models}
    rows = [_row(model, watch, metrics[model]) for model in models]
    (folder / "soak.json").write_text(json.dumps(rows, indent=1), "utf-8")
    print(*table_lines(rows), folder, sep="\n")
    faults = _faults(watch, metrics, options.iterations, options.keep_models)
    print("\n".join(faults) or "Memory is flat, the disk within its policy, all metrics are there.")
    return bool(faults)


def _metrics(folder: Path, model: str) -> dict[str, float]:
    files = (folder / "data/08_reporting" / model).glob("*_metrics.json")
    return {name: figure for file in files for name, figure in json.loads(file.read_text()).items()}


def _row(model: str, watch: Watch, metrics: dict[str, float]) -> dict[str, Cell]:
    return {
        "model": model,
        "seconds": watch.seconds.get(model),
        "peak [MiB]": watch.peaks.get(model),
        "weights on disk": watch.weights.get(model),
        **{name: metrics.get(metric) for name, metric in _SHOWN.items()},
    }


def _faults(watch: Watch, metrics: dict[str, dict[str, float]], last: int, keep: int) -> list[str]:
    """What breaks a rule."""
    faults = []
    first, end = watch.peaks.get("m2"), watch.peaks.get(f"m{last}")
    growth = end / first if first and end else float("nan")
    if not GROWTH.met(growth):
        faults.append(
            f"the peak of m{last} is {growth:.3f} times that of m2 ({GROWTH}; nan: made before)"
        )
    allowed = _ALWAYS_KEPT + keep + _AT_WORK
    faults += [
        f"{model}: {count} models kept their weights, {allowed} may"
        for model, count in watch.weights.items()
        if count > allowed
    ]
    # M2 has no earlier iteration whose pairs its own could be held against.
    iterations = [metrics[f"m{t}"] for t in range(3, last + 1)]
    known = set(metrics["m2"]).union(*iterations)
    faults += [
        f"m{t} lacks {', '.join(sorted(known - set(each)))}"
        for t, each in enumerate(iterations, start=3)
        if known - set(each)
    ]
    return faults


def _said() -> str:
    return (__doc__ or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
