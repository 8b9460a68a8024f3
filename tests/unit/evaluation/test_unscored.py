"""Evaluation and reporting with a referee that only compares, so that there are no scores."""

import pandas as pd
import pytest

from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.pipelines.evaluation.comparisons import compare_with_elders
from srlm_kedro.pipelines.evaluation.head_to_head import settle_comparisons
from srlm_kedro.pipelines.evaluation.nodes import (
    assess_responses,
    draw_eval_responses,
    measure_model,
)
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.reporting.model_tables import (
    collect_duels,
    collect_iterations,
    collect_judges,
    describe_seed_model,
    tabulate_errors,
)
from srlm_kedro.pipelines.reporting.plots import plot_errors, plot_head_to_head, plot_scores
from srlm_kedro.pipelines.reporting.report import pick_answers, write_report
from srlm_kedro.pipelines.reporting.summary import summarise_run
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.llm_referee import LlmReferee

from ..fakes import FakeEngine
from .test_evaluation_nodes import PROMPTS, judged

COMPARE = "{prompt} {first} {second} [[A]] [[B]] [[C]]"
EVALUATION = EvaluationParams(resamples=100)


@pytest.fixture(scope="module")
def referee():
    return LlmReferee(FakeEngine(lambda request, sample: "Equal. [[C]]"), COMPARE)


@pytest.fixture(scope="module")
def scored(referee):
    """`eval_scores` of two models."""
    models = [Checkpoint("nowhere", name) for name in ("sft", "m1")]
    drawn = [draw_eval_responses(m, PROMPTS, ScriptedEngine(), EVALUATION, 0) for m in models]
    return [assess_responses(table, referee) for table in drawn]


def test_figures_of_the_referee_are_left_out_and_the_others_stay(scored):
    """Figures of scores are left out; length and the judge's accuracy need no referee."""
    figures = measure_model(scored[0], judged())
    assert {"eval/mean_length", "eval/pairwise_accuracy", "eval/cut_off"} <= set(figures)
    assert not {"eval/mean_score", "eval/perfect", "eval/items_wrong"} & set(figures)
    assert figures["eval/unscored"] == len(scored[0].query("mode == 'sampled'"))
    assert not pd.Series(figures).isna().any()


def test_reports_show_a_hyphen_for_every_missing_score(scored, referee):
    """Tables, figures, page and summary are made, with the head-to-head in them."""
    sft, m1 = scored
    verdicts = compare_with_elders(m1, sft, sft, referee, EVALUATION)
    duels = collect_duels(settle_comparisons(m1, sft, sft, verdicts, EVALUATION, 0)[0])
    judges = collect_judges(*(judged().assign(model=name) for name in ("sft", "m1")))
    timings = pd.DataFrame({"model": ["m1"], "node": ["train_m1"], "seconds": [1.0]})
    rows = [
        describe_seed_model(Checkpoint("nowhere", name), measure_model(table, judged()))
        for name, table in (("sft", sft), ("m1", m1))
    ]
    iterations, errors = collect_iterations(timings, *rows), tabulate_errors(*scored)
    answers = pick_answers(0, *scored)
    assert iterations["mean_oracle_score"].isna().all()
    assert errors["mean_score"].isna().all()
    assert errors["n"].tolist() == [8, 8]
    for figure in (plot_head_to_head(duels), plot_scores(errors), plot_errors(errors)):
        assert "(nan" not in figure.to_json().lower()
    unstudied = pd.DataFrame({"model": []})
    page = write_report(duels, judges, iterations, errors, unstudied, answers)
    summary = summarise_run(duels, judges, iterations, errors, timings)
    assert "nan" not in page.lower()
    assert "nan" not in summary.lower()
    assert "+0.0 (+0.0 to +0.0)" in summary
