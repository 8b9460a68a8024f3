"""A model that is worse than the one before it, in each way of going on."""

import hashlib
import json

import pandas as pd
import pytest
from mlflow import MlflowClient

from srlm_kedro.errors import GateError
from srlm_kedro.freshness.manifest import content_digest
from tests.integration.test_loop import models


def worsen(project, *names):
    """Makes the models of these names answer validation prompts badly."""
    engine = {
        "type": "srlm_kedro.datasets.engine.EngineDataset",
        "engine": "tests.integration.declining.DecliningEngine",
        "options": {"worse": list(names)},
    }
    project.configure("catalog", generation_engine=engine)


def metrics(project, model, data="data"):
    file = project.path / data / f"08_reporting/{model}/selection_metrics.json"
    return json.loads(file.read_text("utf-8"))


def parent_of(project, model, data="data"):
    """The name of the model that a scripted model was trained from."""
    folder = project.path / data / "06_models"
    names = {
        hashlib.sha256((path / "model.json").read_bytes()).hexdigest()[:16]: path.name
        for path in folder.iterdir()
        if path.is_dir()
    }
    made = json.loads((folder / model / "model.json").read_text("utf-8"))
    return {names[parent] for parent in made["parents"]}


def stamps(project, *patterns):
    files = [path for pattern in patterns for path in project.path.glob(pattern)]
    assert files
    return {path: path.stat().st_mtime_ns for path in files}


def test_the_loop_goes_on_and_marks_the_model(project, caplog):
    """By default a worse M2 is told in the log and in MLflow, and changes no bit of any model: they
    are those of a loop that compares none, and of one that goes back where none is worse enough.
    """
    worsen(project, "m2")
    project.run()
    made = models(project)
    assert metrics(project, "m2")["selection/worse"] == 1.0
    assert metrics(project, "m3")["selection/worse"] == 0.0
    assert "m2 is worse than m1" in caplog.text
    assert parent_of(project, "m3") == {"m2"}
    client = MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db")
    for model, said in {"m2": "true", "m3": "false"}.items():
        version = client.get_model_version_by_alias("srlm_kedro-test", model)
        run = client.get_run(version.run_id)
        assert (version.tags["srlm.worse"], run.data.tags["srlm.worse"]) == (said, said)
        assert "selection/win_minus_loss_vs_previous" in run.data.metrics

    project.run(params={"data": "data/off", "loop": {"when_worse": "off"}})
    folder = project.path / "data/off/06_models"
    assert {path.name: content_digest(path) for path in folder.iterdir() if path.is_dir()} == made
    assert not list(project.path.glob("data/off/0*/m2/*selection*"))
    assert not list(project.path.glob("data/off/0*/m2/validation_*.parquet"))

    project.run(params={"loop": {"when_worse": "best"}, "rollback": {"margin": 100}})
    assert parent_of(project, "m3") == {"m2"}
    assert models(project) == made


def test_the_run_stops_before_the_next_model_is_begun_and_can_go_on(project):
    """M2 and its figures are kept, nothing of M3 is there; with another word only M3 is made."""
    worsen(project, "m2")
    stop = {"loop": {"when_worse": "stop"}}
    with pytest.raises(GateError, match=r"m2 is worse than m1 .* m3 is not begun"):
        project.run(params=stop)
    assert sorted(models(project)) == ["m0", "m1", "m2", "sft"]
    assert not list(project.path.glob("data/0*/m3/*"))
    assert metrics(project, "m2")["selection/worse"] == 1.0
    project.run("iteration", params=stop)  # the measuring of M2 that the stop had cut short
    with pytest.raises(GateError, match="m3 is not begun"):
        project.run("iteration", params=stop)
    assert not list(project.path.glob("data/0*/m3/*"))

    before = stamps(project, "data/06_models/*/model.json", "data/07_model_output/m2/*.parquet")
    project.run()
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    made = models(project)
    assert "m3" in made

    lenient = {**stop, "rollback": {"margin": 100}}
    kept = stamps(project, "data/06_models/*/model.json", "data/07_model_output/m?/*.parquet")
    project.run(params=lenient)
    assert models(project) == made
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    with pytest.raises(GateError, match="m3 is not begun"):
        project.run(params={**stop, "dpo": {"beta": [4.0, 4.4]}})
    assert models(project) == made


def test_the_loop_goes_back_to_the_best(project, caplog):
    """M3 is made from M1 when M2 is worse, in one run and step by step, bit for bit."""
    worsen(project, "m2")
    back = {"loop": {"when_worse": "best"}}
    project.run(params=back)
    made = models(project)
    assert parent_of(project, "m2") == parent_of(project, "m3") == {"m1"}
    assert made["m2"] != made["m3"]
    assert metrics(project, "m3")["selection/win_minus_loss_vs_previous"] == 0.0
    notes = sorted(project.path.glob("data/08_reporting/m?/best.json"))
    chosen = [json.loads(note.read_text("utf-8"))["folder"] for note in notes]
    assert chosen == ["../../06_models/m1", "../../06_models/m3"]
    prompts = pd.read_parquet(project.path / "data/07_model_output/m3/prompts.parquet")
    assert prompts["prompt_id"][0] == "m3-p0001"
    client = MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db")
    run = client.get_model_version_by_alias("srlm_kedro-test", "m2").run_id
    assert client.get_run(run).data.tags["srlm.best"] == "m1"

    caplog.clear()
    project.run(params=back)
    assert "Nothing to do" in caplog.text

    step = {**back, "data": "data/steps"}
    for _ in range(2):
        project.run("iteration", params=step)
    folder = project.path / "data/steps/06_models"
    assert {path.name: content_digest(path) for path in folder.iterdir() if path.is_dir()} == made
    project.run("iteration", params=step)
    assert parent_of(project, "m4", "data/steps") == {"m3"}
