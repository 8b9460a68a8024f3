"""The loop with a judge that is asked by criteria, and with rewards by a checker."""

import pandas as pd
import pytest
import yaml

from srlm_kedro.errors import InputError
from srlm_kedro.judge.judgements import reparse
from tests.unit.fakes import LengthReferee

CHECKER = {
    "type": "srlm_kedro.datasets.engine.EngineDataset",
    "engine": "tests.unit.fakes.LengthReferee",
}
SMALL = {
    "verifiable": {"ift": 20, "eft": 40, "eval_prompts": 16, "sampling": {"n": 3}},
    "eft": {"eval_prompts": 10, "per_answer": 20},
    "prompts": {"count": 12, "max_written": 200, "sampling": {"n": 4, "max_new_tokens": 64}},
    "evaluation": {"resamples": 100, "sampling": {"n": 2}, "greedy": False},
    "study": {"own_prompts": 8},
}


def table(project, name, folder="data"):
    return pd.read_parquet(project.path / folder / "07_model_output" / f"{name}.parquet")


def times(project):
    return {p: p.stat().st_mtime_ns for p in (project.path / "data").rglob("*.parquet")}


def test_a_judge_asked_by_criteria_rewards_the_whole_loop(project):
    """M0 to M2 with evaluation, the raw answers kept; a second run makes nothing."""
    project.configure("parameters", loop={"judge_form": "criteria", "iterations": 2})
    project.run()
    judgements = table(project, "m2/judgements")
    assert judgements["log_yes"].map(len).eq(5).all()
    pd.testing.assert_series_equal(reparse(judgements)["score"], judgements["score"])
    rewards = table(project, "m2/judged_responses").set_index("response_id")["reward"]
    assert rewards[judgements["response_id"]].tolist() == pytest.approx(list(judgements["score"]))
    trained = pd.read_parquet(project.path / "data/05_model_input/eft/eft_train.parquet")
    assert set(trained["completion"]) == {"right", "wrong"}
    assert not trained["complete"].any()
    assert (project.path / "data/08_reporting/report.html").exists()
    before = times(project)
    project.run()
    assert times(project) == before


@pytest.mark.parametrize("reward", ["checked", "both"])
def test_a_checker_rewards_the_candidates(founded, reward):
    """Alone, or with the judge; the seed data's part of the run is as it was."""
    before = times(founded)
    founded.configure("parameters", loop={"reward": reward})
    founded.configure("catalog", checker=CHECKER)
    founded.run("iteration")
    judged = table(founded, "m2/judged_responses")
    pairs = list(zip(judged["prompt"], judged["response"], strict=True))
    true = pd.Series([float(one.score) for one in LengthReferee().assess_all(pairs)])
    if reward == "both":
        judgements = table(founded, "m2/judgements")
        own = judgements[judgements["given"].isna()].groupby("response_id")["score"].mean()
        true = (true + judged["response_id"].map(own)) / 2
    assert judged["reward"].tolist() == pytest.approx(true.tolist())
    assert {path: times(founded)[path] for path in before} == before
    assert (founded.path / "data/06_models/m2/model.json").exists()


def test_labels_without_points_are_refused_before_any_work(project):
    """The microworld's rankings say nothing about single criteria."""
    project.configure("parameters", loop={"judge_form": "criteria", "eft": "labels"})
    with pytest.raises(InputError, match=r"eft_seed: .* ranked responses have no `points`"):
        project.run()
    assert not list((project.path / "data").rglob("*.parquet"))


@pytest.fixture
def verifiable(project):
    """conf/smollm with scripted engines, the microworld's M0 and small numbers."""
    pytest.importorskip("langdetect")
    folder = project.path / "conf/smollm"
    catalog = yaml.safe_load((folder / "catalog.yml").read_text("utf-8"))
    catalog["generation_engine"] |= {
        "engine": "tests.integration.instructing.InstructingEngine",
        "options": {},
        "resources": {},
    }
    catalog["training_engine"] |= {
        "engine": "srlm_kedro.engines.training.scripted.ScriptedTrainer",
        "options": {},
        "resources": {},
    }
    (folder / "catalog.yml").write_text(yaml.safe_dump(catalog), "utf-8")
    parameters = yaml.safe_load((folder / "parameters.yml").read_text("utf-8"))
    parameters["loop"]["iterations"] = 2
    (folder / "parameters.yml").write_text(yaml.safe_dump(parameters | SMALL), "utf-8")
    for file in (project.path / "data/01_raw/smollm").glob("*.jsonl"):
        file.unlink()
    return project


def test_smollms_loop_runs_from_its_seed_data_to_m2(verifiable):
    """By `seed_data` and a plain run: labelled EFT, prompts with constraints, gains by kind."""
    given = {"model": "data/01_raw/m0"}
    raw = verifiable.path / "data/01_raw/smollm"
    verifiable.run("seed_data", env="smollm", params=given)
    made = {file.name: file.read_bytes() for file in raw.glob("*.jsonl")}
    assert set(made) == {"ift.jsonl", "eft.jsonl", "eval_prompts.jsonl"}
    verifiable.run(env="smollm", params=given)
    own = verifiable.path / "data/smollm"
    trained = pd.read_parquet(own / "05_model_input/eft/eft_train.parquet")
    counts = trained.groupby(["kind", "completion"]).size().unstack()
    assert (counts["Yes"] == counts["No"]).all()
    judgements = table(verifiable, "m2/judgements", "data/smollm")
    written = table(verifiable, "m2/prompts", "data/smollm")
    assert judgements["criteria"].map(len).gt(0).all()
    assert len(written) == 12
    gains = table(verifiable, "m2/gains", "data/smollm")
    assert {"m1", "sft"} <= set(gains["against"])
    known = table(verifiable, "m2/criteria", "data/smollm")
    assert {"all", "include"} <= set(known["kind"])
    shown = pd.read_parquet(own / "08_reporting/answers.parquet")
    assert list(shown["model"].unique()) == ["m0", "sft", "m1", "m2"]
    again = {file.name: file.read_bytes() for file in raw.glob("*.jsonl")}
    assert again == made


def test_seed_data_are_the_same_twice(verifiable):
    """Made anew in another folder: the same bytes."""
    raw = verifiable.path / "data/01_raw/smollm"
    found = []
    for name in ("one", "two"):
        given = {"model": "data/01_raw/m0", "data": f"data/{name}"}
        verifiable.run("seed_data", env="smollm", params=given)
        found.append({file.name: file.read_bytes() for file in sorted(raw.glob("*.jsonl"))})
        for file in raw.glob("*.jsonl"):
            file.unlink()
    assert len(found[0]) == 3
    assert found[0] == found[1]
