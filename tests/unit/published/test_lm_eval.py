"""Benchmark figures, and the guard against the alignment tax."""

import logging
import math
from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.engines.published.scripted import ScriptedHarness
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.pipelines.published.lm_eval import (
    ALIGNMENT,
    AlignmentParams,
    BenchmarksParams,
    benchmark_metrics,
    compare_with_m1,
    create_guard_pipeline,
    create_pipeline,
    guard_alignment,
    run_benchmarks,
)
from srlm_kedro.records import Checkpoint

NONE_YET = pd.DataFrame({"model": []})


def _model(t):
    return Checkpoint(Path(f"m{t}"), f"m{t}")


class _Harness:
    """A harness with fixed figures, which keeps its arguments."""

    def __init__(self, figures):
        self._figures = figures
        self.asked = None

    def run(self, model, tasks, limit, seed, num_fewshot=None):
        self.asked = (model.name, tasks, limit, seed, num_fewshot)
        return self._figures


def _results(**values):
    rows = [(task, "acc", value, 0.01) for task, value in values.items()]
    return pd.DataFrame(rows, columns=["task", "metric", "value", "stderr"])


def _alignment(*models):
    """The `alignment` of the last model, from M1's figures and each model's."""
    table = NONE_YET
    for t, values in enumerate(models[1:], 2):
        table, _ = compare_with_m1(_model(t), _results(**values), _results(**models[0]), table)
    return table


def test_the_figures_are_a_row_each_with_their_standard_errors():
    """A metric without an error has none in the table; every knob reaches the harness."""
    harness = _Harness({"a": {"acc": 0.5, "acc_stderr": 0.1, "f1": 0.4}, "b": {"em": 1.0}})
    params = BenchmarksParams(tasks=("a", "b"), limit=7, num_fewshot=3)
    table = run_benchmarks(_model(2), harness, params, seed=5)
    assert harness.asked == ("m2", ("a", "b"), 7, 5, 3)
    assert table[["task", "metric", "value"]].to_numpy().tolist() == [
        ["a", "acc", 0.5],
        ["a", "f1", 0.4],
        ["b", "em", 1.0],
    ]
    assert table["stderr"].tolist()[0] == 0.1
    assert table["stderr"].isna().tolist() == [False, True, True]
    assert benchmark_metrics(table) == {
        "benchmarks/a/acc": 0.5,
        "benchmarks/a/f1": 0.4,
        "benchmarks/b/em": 1.0,
    }


def test_the_papers_tasks_are_the_default():
    """They are nine, with lm-eval's names."""
    assert len(BenchmarksParams().tasks) == 9


def test_a_drop_is_told_in_points_against_m1():
    """The paper's ARC-Challenge, M1 57.5 and M3 53.1: 4.4 points, and the error of a difference."""
    table, metrics = compare_with_m1(
        _model(3), _results(arc=0.531, up=0.6), _results(arc=0.575, up=0.5), NONE_YET
    )
    assert list(table.columns) == ALIGNMENT
    assert table["drop"].tolist() == pytest.approx([4.4, -10])
    assert table["noise"].tolist() == pytest.approx([100 * 1.96 * math.sqrt(2) * 0.01] * 2)
    assert metrics == pytest.approx(
        {"benchmarks/arc/acc_against_m1": -4.4, "benchmarks/up/acc_against_m1": 10}
    )


def test_each_model_stands_under_those_before_it():
    """M3's table holds M2's rows first; the metrics are M3's alone."""
    table = _alignment({"a": 0.5}, {"a": 0.4}, {"a": 0.3})
    assert table["model"].tolist() == ["m2", "m3"]
    assert table["drop"].tolist() == pytest.approx([10, 20])


def test_a_perplexity_is_not_compared():
    """It falls when the model gets better, and is not a share."""
    own = pd.concat([_results(a=0.5), _results(ppl=9.0)])
    table, _ = compare_with_m1(_model(2), own, pd.concat([own, _results(b=0.1)]), NONE_YET)
    assert table["task"].tolist() == ["a"]


def test_models_without_a_common_figure_are_refused():
    """The message says what must be the same."""
    with pytest.raises(InputError, match=r"m2: .* no figure in common.*`benchmarks.tasks`"):
        compare_with_m1(_model(2), _results(a=0.5), _results(b=0.5), NONE_YET)


def test_a_drop_within_the_limits_passes_without_a_word(caplog):
    """A smaller drop is within the limit, and a rise always is."""
    guard = AlignmentParams(every={"warn": 3, "stop": 5})
    with caplog.at_level(logging.WARNING):
        assert guard_alignment(
            _model(2), _alignment({"a": 0.5, "b": 0.5}, {"a": 0.471, "b": 0.9}), guard
        )
    assert not caplog.records


def test_a_drop_over_the_softer_limit_is_a_warning(caplog):
    """It names model, figure, both values, the limit and the noise."""
    guard = AlignmentParams(every={"warn": 3, "stop": 5})
    with caplog.at_level(logging.WARNING):
        guard_alignment(_model(2), _alignment({"a": 0.5}, {"a": 0.46}), guard)
    assert caplog.messages == [
        "m2: a/acc fell by 4.0 points, from 50.0 to 46.0 (`warn` limit 3, noise ±2.8)"
    ]


def test_a_drop_over_the_harder_limit_stops_and_names_the_model_to_go_back_to():
    """M2 was within its limits, M3 and M4 are not: back to M2."""
    guard = AlignmentParams(every={"stop": 5})
    table = _alignment({"a": 0.5, "b": 0.5}, {"a": 0.46}, {"a": 0.3}, {"a": 0.42, "b": 0.2})
    with pytest.raises(GateError) as refused:
        guard_alignment(_model(4), table, guard)
    message = str(refused.value)
    assert message.startswith("m4: 2 benchmark figures fell further below M1")
    assert "Go back to m2, the newest model within all limits" in message
    assert message.index("b/acc fell by 30.0 points") < message.index("a/acc fell by 8.0 points")


def test_without_a_model_in_between_it_is_back_to_m1():
    """M1 has no drop."""
    with pytest.raises(GateError, match="Go back to m1,"):
        guard_alignment(
            _model(2), _alignment({"a": 0.5}, {"a": 0.1}), AlignmentParams(every={"stop": 5})
        )


def test_a_new_limit_judges_earlier_models_anew():
    """The table keeps drops, so M2 is within the new limit."""
    table = _alignment({"a": 0.5}, {"a": 0.4}, {"a": 0.1})
    with pytest.raises(GateError, match="Go back to m1,"):
        guard_alignment(_model(3), table, AlignmentParams(every={"stop": 5}))
    with pytest.raises(GateError, match="Go back to m2,"):
        guard_alignment(_model(3), table, AlignmentParams(every={"stop": 15}))


@pytest.mark.parametrize(
    ("limits", "stops"),
    [
        ({}, True),
        ({"a": {"stop": 30}}, False),
        ({"a": {}}, False),
        ({"a": {"stop": 30}, "a/acc": {"stop": 10}}, True),
        ({"a": {"stop": 10}, "a/acc": {"stop": 30}}, False),
        ({"b": {"stop": 30}}, True),
    ],
)
def test_the_nearest_limit_counts(limits, stops):
    """Task and metric come before task, and task before `every`; an empty limit sets none."""
    table = _alignment({"a": 0.5, "b": 0.5}, {"a": 0.3, "b": 0.5})
    guard = AlignmentParams(every={"stop": 5}, limits=limits)
    if not stops:
        assert guard_alignment(_model(2), table, guard) == {"checked": True}
        return
    with pytest.raises(GateError, match=r"a/acc fell by 20\.0 points"):
        guard_alignment(_model(2), table, guard)


def test_a_limit_for_a_figure_that_is_not_there_is_refused():
    """A mistyped name is refused and not ignored."""
    guard = AlignmentParams(limits={"gsm9k": {"stop": 1}})
    with pytest.raises(InputError, match=r"gsm9k\. Known tasks: a, b"):
        guard_alignment(_model(2), _alignment({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}), guard)


def test_the_scripted_harness_depends_on_model_and_seed_alone():
    """Another model or seed has other figures; `tax` lowers those of each iteration."""
    engine = ScriptedHarness()
    first = engine.run(_model(2), ["a", "b"], None, seed=0)
    assert engine.run(_model(2), ["b", "a"], 5, seed=0) == first
    assert engine.run(_model(3), ["a", "b"], None, seed=0) != first
    assert engine.run(_model(2), ["a", "b"], None, seed=1) != first
    taxed = ScriptedHarness(tax=4).run(_model(3), ["a"], None, seed=0)["a"]["acc"]
    untaxed = engine.run(_model(3), ["a"], None, seed=0)["a"]["acc"]
    assert untaxed - taxed == pytest.approx(0.08)


def test_the_pipelines_have_the_agreed_names():
    """Free inputs and outputs of the stage."""
    assert create_pipeline().inputs() == {
        *("model", "benchmark_engine", "params:benchmarks", "params:seed")
    }
    assert create_pipeline().all_outputs() == {"benchmark_results", "benchmark_metrics"}
    assert create_guard_pipeline().inputs() == {
        *("model", "benchmark_results", "m1_benchmark_results", "earlier_alignment"),
        "params:alignment",
    }
    assert create_guard_pipeline().all_outputs() == {
        *("alignment", "alignment_metrics", "alignment_checked")
    }
