"""Published benchmarks: AlpacaEval, MT-Bench, and NLP tasks by lm-eval. Paper: section 3.2."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines.iteration import named
from srlm_kedro.pipelines.published import alpaca_eval, lm_eval, mt_bench, mt_bench_scores


def create_pipelines(models: Sequence[str]) -> dict[str, Pipeline]:
    """One pipeline per benchmark, over `models` (`sft`, `m1`, ...); each runs only by its name."""
    return {
        "alpaca_eval": _each(models, alpaca_eval.create_pipeline())
        + alpaca_eval.create_leaderboard_pipeline(models),
        "mt_bench": _each(models, mt_bench.create_pipeline() + mt_bench_scores.create_pipeline()),
        "benchmarks": _each(models, lm_eval.create_pipeline()) + _guarded(models),
    }


def _each(models: Sequence[str], stages: Pipeline) -> Pipeline:
    return sum((named(stages, name, {"model": f"{name}.model"}) for name in models), Pipeline([]))


def _guarded(models: Sequence[str]) -> Pipeline:
    """The guard of each model from M2 on, against M1: the alignment tax."""
    guards = Pipeline([])
    for t in range(2, len([name for name in models if name != "sft"]) + 1):
        wiring = {
            "model": f"m{t}.model",
            "benchmark_results": f"m{t}.benchmark_results",
            "m1_benchmark_results": "m1.benchmark_results",
            "earlier_alignment": "no_alignment" if t == 2 else f"m{t - 1}.alignment",
        }
        guards += named(lm_eval.create_guard_pipeline(), f"m{t}", wiring)
    return guards
