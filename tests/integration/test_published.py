"""Published benchmarks, run by name on the models of a finished run, and recorded."""

import json

import mlflow
import pandas as pd
import pytest

from srlm_kedro.errors import InputError

QUESTIONS = [
    {"question_id": 81, "category": "writing", "turns": ["Write a line.", "Make it shorter."]},
    {"question_id": 111, "category": "math", "turns": ["Add one and two.", "Double it."]},
]


def write_questions(project):
    file = project.path / "data/01_raw/mt_bench.jsonl"
    file.write_text("\n".join(map(json.dumps, QUESTIONS)) + "\n", "utf-8")


@pytest.fixture
def finished(iterated):
    """A project with M1 and M2, and MT-Bench's questions."""
    write_questions(iterated)
    return iterated


def recorded(project):
    """The newest value of each metric of each model's run, by model."""
    client = mlflow.MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db")
    experiments = [one.experiment_id for one in client.search_experiments()]
    found: dict[str, dict[str, float]] = {}
    for run in client.search_runs(experiments, order_by=["attributes.start_time ASC"]):
        found.setdefault(run.info.run_name.lower(), {}).update(run.data.metrics)
    return found


def test_each_benchmark_measures_every_model_and_reaches_mlflow(project):
    """AlpacaEval's leaderboard, MT-Bench's score, NLP benchmarks and what M2 lost of them."""
    write_questions(project)
    for name in ("iteration", "alpaca_eval", "mt_bench", "benchmarks"):
        project.run(name)
    figures = recorded(project)
    for model in ("sft", "m1", "m2"):
        assert 0 <= figures[model]["alpaca_eval/win_rate"] <= 100
        assert figures[model]["mt_bench/score"] == 4
        assert any(name.startswith("benchmarks/gsm8k/") for name in figures[model])
    assert any(name.endswith("_against_m1") for name in figures["m2"])
    board = pd.read_csv(project.path / "data/08_reporting/leaderboard.csv")
    assert len(board) > 3


def test_a_benchmark_without_its_file_is_refused_before_work(finished):
    """The message names the file."""
    (finished.path / "data/01_raw/mt_bench.jsonl").unlink()
    with pytest.raises(InputError, match=r"mt_bench\.jsonl is not there"):
        finished.run("mt_bench")


def test_a_fallen_benchmark_stops_the_run_and_keeps_its_figures(finished):
    """The guard's limit is passed: M2 stays on disk, and so do all results."""
    catalog = finished.path / "conf/test/catalog.yml"
    engine = "srlm_kedro.engines.published.scripted.ScriptedHarness"
    text = catalog.read_text("utf-8")
    catalog.write_text(text.replace(engine, f"{engine}\n  options: {{tax: 40.0}}"), "utf-8")
    with pytest.raises(Exception, match="below M1"):
        finished.run("benchmarks")
    assert (finished.path / "data/07_model_output/m2/benchmark_results.parquet").exists()


def test_the_estimate_comes_before_any_model(project, capsys):
    """Tokens, pairs, time and disk of a configuration, from seed data and parameters alone."""
    project.run("estimate")
    said = capsys.readouterr().out
    assert "pairs" in said
    assert not (project.path / "data/06_models").exists()
