"""NLP benchmarks by lm-eval, and a guard against the alignment tax. Paper: NLP benchmarks.

One node writes the figures, the next compares them with M1's, and the last one applies the limits.
So all figures are on disk when the guard stops a run.
"""

import logging
import math
from typing import Self

import pandas as pd
from kedro.pipeline import Node, Pipeline
from pydantic import Field, model_validator

from srlm_kedro.engines.published.base import STDERR, BenchmarkEngine
from srlm_kedro.errors import GateError, InputError, summary
from srlm_kedro.params import MAX_COUNT, Params
from srlm_kedro.records import Checkpoint


class BenchmarksParams(Params):
    """The parameters `benchmarks`: what is measured of each model. Paper: NLP benchmarks."""

    tasks: tuple[str, ...] = Field(
        (
            *("arc_easy", "arc_challenge", "hellaswag", "social_iqa", "piqa"),
            *("gsm8k", "mmlu", "openbookqa", "nq_open"),
        ),
        min_length=1,
    )
    """Names of tasks in lm-eval (paper: these nine)."""
    limit: int | None = Field(None, ge=1, le=MAX_COUNT)
    """Number of items of each task, from its start. None: all items."""
    num_fewshot: int | None = Field(None, ge=0, le=1000)
    """Worked examples before each item. None: the task's own number."""


class DropLimit(Params):
    """How far a figure may fall below M1's, in points of 100."""

    warn: float | None = Field(None, gt=0, le=100)
    """A larger drop is logged as a warning. None: no drop is."""
    stop: float | None = Field(None, gt=0, le=100)
    """A larger drop stops the run; the model and its figures stay on disk. None: no drop does."""

    @model_validator(mode="after")
    def _warns_first(self) -> Self:
        if self.warn is not None and self.stop is not None and self.warn > self.stop:
            raise ValueError(
                f"warn = {self.warn} is above stop = {self.stop}: nobody would be warned"
            )
        return self


class AlignmentParams(Params):
    """The parameters `alignment`: how far later models may fall below M1, the alignment tax.

    The paper reports the tax and sets no limit: M3 is 4.4 points below M1 on ARC-Challenge and 2.6
    points below it on GSM8K.
    """

    every: DropLimit = DropLimit(warn=3.0, stop=10.0)
    """The limit of each figure that `limits` does not name."""
    limits: dict[str, DropLimit] = Field({})
    """Limits by task (`gsm8k`), or by task and metric (`arc_challenge/acc_norm`). The latter come
    first. An empty entry sets no limit."""

    def limit(self, task: str, metric: str) -> DropLimit:
        """The limit of one figure."""
        return self.limits.get(f"{task}/{metric}") or self.limits.get(task) or self.every


COLUMNS = ["task", "metric", "value", "stderr"]
"""Columns of `benchmark_results`: one row per figure. `stderr` is NaN if lm-eval gives none."""
ALIGNMENT = ["model", "task", "metric", "m1", "value", "drop", "noise"]
"""Columns of `alignment`: one row per model and figure, earlier models first. `drop` is M1's figure
minus the model's, in points. `noise` is the half-width of its 95% interval, with the errors of M1
and of the model taken as independent."""

_TWO_SIDED_95 = 1.96

_log = logging.getLogger(__name__)


def run_benchmarks(
    model: Checkpoint, benchmark_engine: BenchmarkEngine, benchmarks: BenchmarksParams, seed: int
) -> pd.DataFrame:
    """The model's figures on every task, columns `COLUMNS`."""
    found = benchmark_engine.run(
        model, benchmarks.tasks, benchmarks.limit, seed, benchmarks.num_fewshot
    )
    rows = [
        (task, metric, value, figures.get(f"{metric}{STDERR}", math.nan))
        for task, figures in found.items()
        for metric, value in figures.items()
        if not metric.endswith(STDERR)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def benchmark_metrics(benchmark_results: pd.DataFrame) -> dict[str, float]:
    """The figures as `benchmarks/<task>/<metric>`, in lm-eval's unit."""
    return {
        f"benchmarks/{row.task}/{row.metric}": float(row.value)
        for row in benchmark_results.itertuples()
    }


def compare_with_m1(
    model: Checkpoint,
    benchmark_results: pd.DataFrame,
    m1_benchmark_results: pd.DataFrame,
    earlier_alignment: pd.DataFrame,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The model's figures against M1's: the rows of `alignment`, and metrics.

    Figures that are not shares, such as a perplexity, are left out: a higher one need not be
    better.

    Returns:
        `alignment` with the rows of earlier models before this model's, and
        `benchmarks/<task>/<metric>_against_m1` in points, negative for a loss.

    Raises:
        InputError: The two models have no figure in common.
    """
    both = benchmark_results.merge(m1_benchmark_results, on=["task", "metric"], suffixes=("", "_1"))
    both = both[both["value"].between(0, 1) & both["value_1"].between(0, 1)]
    if both.empty:
        raise InputError(
            f"{model.name}: its benchmarks and M1's have no figure in common. Run both with the "
            "same `benchmarks.tasks`."
        )
    table = pd.DataFrame(
        {
            "model": model.name,
            "task": both["task"],
            "metric": both["metric"],
            "m1": both["value_1"],
            "value": both["value"],
            "drop": 100 * (both["value_1"] - both["value"]),
            "noise": 100 * _TWO_SIDED_95 * (both["stderr"] ** 2 + both["stderr_1"] ** 2) ** 0.5,
        }
    )
    metrics = {
        f"benchmarks/{row.task}/{row.metric}_against_m1": -float(row.drop)
        for row in table.itertuples()
    }
    if earlier_alignment.empty:
        return table.reset_index(drop=True), metrics
    return pd.concat([earlier_alignment[ALIGNMENT], table], ignore_index=True), metrics


def guard_alignment(
    model: Checkpoint, alignment: pd.DataFrame, guard: AlignmentParams
) -> dict[str, bool]:
    """Accepts the model if no figure fell too far below M1's; smaller drops are logged.

    Raises:
        InputError: A limit names a figure that does not exist.
        GateError: A drop is larger than its `stop`; the message names the newest model within
            all limits, to go back to.
    """
    _refuse_unknown_limits(alignment, guard)
    rows = alignment[alignment["model"] == model.name]
    for row in rows.itertuples():
        limit = guard.limit(row.task, row.metric).warn
        if limit is not None and row.drop > limit:
            _log.warning("%s: %s", model.name, _described(row, "warn", limit))
    if stopped := _drops_above_stop(rows, guard):
        raise GateError(summary(_heading(model, alignment, guard, len(stopped)), stopped))
    return {"checked": True}


def _drops_above_stop(rows: pd.DataFrame, guard: AlignmentParams) -> list[str]:
    """The drops above their limits as text, the largest first."""
    ordered = rows.sort_values("drop", ascending=False, kind="stable").itertuples()
    limits = [(row, guard.limit(row.task, row.metric).stop) for row in ordered]
    return [
        _described(row, "stop", limit)
        for row, limit in limits
        if limit is not None and row.drop > limit
    ]


def _heading(
    model: Checkpoint, alignment: pd.DataFrame, guard: AlignmentParams, number: int
) -> str:
    best = _newest_within(model, alignment, guard)
    return (
        f"{model.name}: {number} benchmark figures fell further below M1 than `alignment` allows. "
        f"The model and its figures stay on disk. Go back to {best}, the newest model within all "
        f"limits, and make {model.name} again with a smaller `dpo.learning_rate` or a larger "
        "`dpo.beta`; or raise the limit."
    )


def _newest_within(model: Checkpoint, alignment: pd.DataFrame, guard: AlignmentParams) -> str:
    """The last model before this one whose drops are within all limits; M1 has none."""
    before = alignment[alignment["model"] != model.name]
    models = before["model"].drop_duplicates().to_list()
    return next(
        (
            name
            for name in reversed(models)
            if not _drops_above_stop(before[before["model"] == name], guard)
        ),
        "m1",
    )


def _refuse_unknown_limits(alignment: pd.DataFrame, guard: AlignmentParams) -> None:
    tasks = set(alignment["task"])
    known = tasks | {f"{row.task}/{row.metric}" for row in alignment.itertuples()}
    if unknown := sorted(set(guard.limits) - known):
        raise InputError(
            f"`alignment.limits` names figures that do not exist: {', '.join(unknown)}. "
            f"Known tasks: {', '.join(sorted(tasks))}."
        )


def _described(row, kind: str, limit: float) -> str:
    noise = "" if math.isnan(row.noise) else f", noise ±{row.noise:.1f}"
    return (
        f"{row.task}/{row.metric} fell by {row.drop:.1f} points, from {100 * row.m1:.1f} to "
        f"{100 * row.value:.1f} (`{kind}` limit {limit:g}{noise})"
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

    `earlier_alignment` is the `alignment` of the model before; for M2 it is empty.
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
