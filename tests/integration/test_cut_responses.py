"""A run in which the model's answers are cut off or empty now and then."""

import json

import pandas as pd
import pytest
from mlflow import MlflowClient

KIND = {
    "type": "srlm_kedro.datasets.engine.EngineDataset",
    "engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine",
}


SHARES = {"unfinished": 0.25, "empty": 0.15}
STAGES = ("judge", "pair")


@pytest.fixture
def poor(founded):
    """A project with M1, and an engine that breaks off and falls silent."""
    founded.configure("catalog", generation_engine=KIND | {"options": SHARES})
    return founded


def tables(project):
    """Responses, judged responses and pairs of M2, by the names of their datasets."""
    found = {path.stem: path for path in project.path.glob("data/**/m2/*.parquet")}
    return [pd.read_parquet(found[name]) for name in ("responses", "judged_responses", "pairs")]


def metrics(project):
    """The counts of M2's judging and pairs."""
    paths = [next(project.path.glob(f"data/**/m2/{stage}_metrics.json")) for stage in STAGES]
    return {name: value for path in paths for name, value in json.loads(path.read_text()).items()}


def test_cut_and_empty_answers_are_dropped_and_counted(poor):
    """Neither is judged or in a pair; tables, MLflow, card and report hold the counts."""
    poor.run("iteration", params={"judging": {"max_unparsed": 0.5}})
    responses, judged, pairs = tables(poor)
    blank = responses["response"].str.strip() == ""
    cut, empty = ((responses["finish"] == "length") & ~blank).sum(), blank.sum()
    assert min(cut, empty) > 0
    counts = metrics(poor)
    assert (counts["judge/dropped_cut"], counts["judge/dropped_empty"]) == (cut, empty)
    assert counts["judge/judged_share"] == pytest.approx(1 - (cut + empty) / len(responses))
    assert len(judged) == len(responses)
    unjudged = judged[judged["reason"] != "ok"]
    assert unjudged["reward"].isna().all()
    assert not set(unjudged["response_id"]) & {*pairs["chosen_id"], *pairs["rejected_id"]}
    drops = sum(value for name, value in counts.items() if name.startswith("pairs/dropped_"))
    assert len(pairs) + drops == responses["prompt_id"].nunique()
    client = MlflowClient(f"sqlite:///{poor.path}/mlruns/mlflow.db")
    version = client.get_model_version_by_alias("srlm_kedro-test", "m2")
    tracked = client.get_run(version.run_id).data.metrics
    assert {name: tracked[name] for name in counts} == counts
    row = pd.read_csv(poor.path / "data/08_reporting/iterations.csv").set_index("model").loc["m2"]
    assert row[["responses", "cut", "empty"]].tolist() == [len(responses), cut, empty]
    (card,) = poor.path.glob("data/06_models/m2/README.md")
    assert f"| responses dropped: cut | {cut} |" in card.read_text("utf-8")


def test_kept_cut_answers_are_judged_and_stay_open(poor):
    """The policy reaches the pairs, and with them what training makes of the text."""
    poor.run("iteration", params={"judging": {"max_unparsed": 0.5, "cut": "keep"}})
    responses, judged, pairs = tables(poor)
    assert set(judged["reason"]) == {"ok", "empty"}
    counts = metrics(poor)
    assert counts["judge/dropped_cut"] == 0
    finish = responses.set_index("response_id")["finish"]
    for side in ("chosen", "rejected"):
        assert pairs[f"{side}_finish"].tolist() == finish[pairs[f"{side}_id"]].tolist()
    assert "length" in {*pairs["chosen_finish"], *pairs["rejected_finish"]}
