"""The benchmarks of a model, and the guard that holds them against M1's."""

from kedro.pipeline import Node, Pipeline

from srlm_kedro.pipelines.benchmarks.nodes import (
    benchmark_metrics,
    compare_with_m1,
    guard_alignment,
    run_benchmarks,
)


def create_pipeline() -> Pipeline:
    """`model`, `benchmark_engine` -> `benchmark_results`, `benchmark_metrics`."""
    return Pipeline(
        [
            Node(
                run_benchmarks,
                ["model", "benchmark_engine", "params:benchmarks", "params:seed"],
                "benchmark_results",
                name="run_benchmarks",
            ),
            Node(
                benchmark_metrics,
                "benchmark_results",
                "benchmark_metrics",
                name="benchmark_metrics",
            ),
        ]
    )


def create_guard_pipeline() -> Pipeline:
    """`benchmark_results`, M1's, `earlier_alignment` -> `alignment`, `..._metrics`, `..._checked`.

    `earlier_alignment` is the `alignment` of the model before; of M2 it is empty.
    """
    results = ["benchmark_results", "m1_benchmark_results", "earlier_alignment"]
    return Pipeline(
        [
            Node(
                compare_with_m1,
                ["model", *results],
                ["alignment", "alignment_metrics"],
                name="compare_with_m1",
            ),
            Node(
                guard_alignment,
                ["model", "alignment", "params:alignment"],
                "alignment_checked",
                name="guard_alignment",
            ),
        ]
    )
