"""The instruments between the stages, in a run of everything and left out of one."""

import json

import pandas as pd
from mlflow import MlflowClient

from tests.integration.test_loop import models

FIGURES = {
    *("judge_pairs", "tied_groups", "prompts_valid", "prompts_distance", "prompts_nearest"),
    *("prompts_distinct_bigrams", "kl", "kl_token", "logp_chosen_moved", "logp_rejected_moved"),
}
"""The scripted engine writes no tasks of the microworld: nobody knows a candidate's truth."""


def test_every_model_is_studied_and_a_run_may_leave_it_out(founded):
    """Figures of each model and iteration on disk, in MLflow and in one table. Without them the
    models are the same, and nothing of the study is made.
    """
    founded.run("iteration")
    folder = founded.path / "data/08_reporting"
    table = pd.read_csv(folder / "study.csv").set_index("model")
    assert list(table.index) == ["sft", "m1", "m2"]
    told = json.loads((folder / "m2/study_metrics.json").read_text("utf-8"))
    assert {f"study/{name}" for name in FIGURES} <= set(told)
    assert told["study/prompts_valid"] == told["study/judge_pairs"] == 0
    for model in table.index:
        judged = pd.read_parquet(founded.path / f"data/07_model_output/{model}/own_rewards.parquet")
        assert len(judged)
        assert judged["reward"].notna().any()
    assert table["kl"].notna().tolist() == [False, False, True]
    assert table["rubric_right_shuffled"].notna().tolist() == [False, True, False]
    client = MlflowClient(f"sqlite:///{founded.path}/mlruns/mlflow.db")
    version = client.get_model_version_by_alias("srlm_kedro-test", "m2")
    assert {"study/kl", "study/own_pairs"} <= set(client.get_run(version.run_id).data.metrics)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert any("study/rubric_right_shuffled" in run.data.metrics for run in runs)
    assert "Stage by stage" in (folder / "report.html").read_text("utf-8")

    made = models(founded)
    (folder / "study.csv").unlink()
    founded.run("iteration", params={"iteration": 2, "loop": {"study": False}})
    assert models(founded) == made
    assert not (folder / "study.csv").exists()
    assert "Stage by stage" not in (folder / "report.html").read_text("utf-8")
