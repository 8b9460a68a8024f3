"""Texts that are too long: people's are refused before any training, a model's are left out."""

import json

import pandas as pd
import pytest

KIND = {
    "type": "srlm_kedro.datasets.engine.EngineDataset",
    "engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine",
}


def test_a_long_row_is_refused_before_the_first_training(project):
    """The message names the row, its length and the limit; no model is trained."""
    path = project.path / "data/01_raw/ift.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    rows[7]["response"] = "word " * 300
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(Exception, match=rf"ift {rows[7]['id']}: 3\d\d tokens > max_length = 256"):
        project.run("foundation")
    assert not (project.path / "data/06_models/sft").exists()


def test_what_a_model_writes_too_long_is_left_out_and_the_run_goes_on(founded):
    """Some judge prompts leave the judge no room: no score for them, and no stop."""
    founded.configure("catalog", generation_engine=KIND | {"options": {"positions": 194}})
    founded.run("iteration", params={"judging": {"max_unparsed": 1.0}})
    (judgements,) = founded.path.glob("data/**/m2/judgements.parquet")
    left_out = pd.read_parquet(judgements)["finish"].eq("no_room")
    (metrics,) = founded.path.glob("data/**/m2/judge_metrics.json")
    assert 0 < left_out.sum() < len(left_out)
    assert json.loads(metrics.read_text("utf-8"))["judge/no_room"] == left_out.sum()
    assert (founded.path / "data/06_models/m2").is_dir()
