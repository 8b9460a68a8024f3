"""Runs that are refused, stopped or out of disk space, and the run after them."""

import re
import signal
import socket
import time
from collections import Counter

import pytest
from mlflow import MlflowClient

from srlm_kedro.errors import GateError, InputError
from srlm_kedro.running.data_folder import one_run_at_a_time


def tracked(project):
    return MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db")


def all_runs(project):
    experiment = tracked(project).get_experiment_by_name("srlm_kedro")
    return tracked(project).search_runs([experiment.experiment_id])


def statuses(project):
    """The statuses of MLflow's runs."""
    return {run.info.status for run in all_runs(project)}


def points(project):
    """How many values each metric has at each step, by model; parents share one name."""
    return Counter(
        (run.data.tags.get("model", "parent"), key, point.step)
        for run in all_runs(project)
        for key in run.data.metrics
        for point in tracked(project).get_metric_history(run.info.run_id, key)
    )


def test_a_second_run_on_the_same_data_is_refused_before_any_work(project):
    """Another folder is free, and the same one is free afterwards."""
    with one_run_at_a_time(project.path / "data"):
        with pytest.raises(InputError, match=f"on {socket.gethostname()}.*--params=data=OTHER"):
            project.run("foundation")
        assert not (project.path / "data/02_intermediate").exists()
        project.run("foundation", params={"data": "data/other"})
        project.run("status")
    project.run("foundation")
    assert (project.path / "data/06_models/m1").exists()


def test_folders_that_cannot_be_written_are_refused_before_any_work(project):
    """One message names all of them, with their outputs."""
    for name in ("06_models", "08_reporting"):
        (project.path / "data" / name).write_text("a file")
    with pytest.raises(InputError) as refusal:
        project.run("foundation")
    assert str(project.path / "data/06_models") in str(refusal.value)
    assert str(project.path / "data/08_reporting") in str(refusal.value)
    assert not (project.path / "data/03_primary").exists()


def test_a_judge_that_gives_no_scores_ends_the_run_before_the_baseline_is_measured(project):
    """Its judging is given up early; if not, nothing is drawn after EFT is known to be empty."""
    engine = {
        "type": "srlm_kedro.datasets.engine.EngineDataset",
        "engine": "srlm_kedro.engines.generation.scripted.ScriptedEngine",
        "options": {"unparsed": 1.0},
    }
    project.configure("catalog", generation_engine=engine)
    with pytest.raises(GateError, match=r"none of the first 80 of 800 judgements.*80 no_score"):
        project.run()
    assert not list(project.path.glob("data/0*/eft/judgements.parquet"))
    with pytest.raises(GateError, match=r"eft: 0 of 800 judgements.*no_score.*loop.eft: ranking"):
        project.run(params={"eft": {"give_up_at": 1}})
    assert list(project.path.glob("data/0*/eft/judgements.parquet"))
    assert not list(project.path.glob("data/0*/sft/eval_*"))


def test_a_full_disk_is_a_message_and_the_same_command_goes_on(project):
    """What was made before stays; /dev/full is a disk without space."""
    full = project.path / "data/full.csv"
    full.symlink_to("/dev/full")
    table = {"type": "pandas.CSVDataset", "filepath": str(full)}
    project.configure("catalog", **{"sft.train_log": table})
    with pytest.raises(GateError, match=r"sft.train_log: \S*full.csv.*disk is full.*same command"):
        project.run("foundation")
    made = project.path / "data/06_models/m0/model.json"
    stamp = made.stat().st_mtime_ns
    project.configure("catalog", **{"sft.train_log": {**table, "filepath": "data/log.csv"}})
    project.run("foundation")
    assert (project.path / "data/06_models/m1").exists()
    assert made.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_stopped_run_says_where_it_was_and_goes_on(project, number, status):
    """It prints one line, no traceback; MLflow's runs are KILLED, and FINISHED when run again."""
    mark = project.halt(at=2, how="wait")
    process = project.start("--pipeline=iteration")
    while not mark.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == status, said
    assert "Traceback" not in said
    [line] = re.findall("^Stopped.*$", said, re.MULTILINE)
    assert re.match(r"Stopped during \w+\.\w+\. Nothing is lost", line)
    assert line.endswith("kedro run --env=test --pipeline=iteration")
    assert statuses(project) - {"FINISHED"} == {"KILLED"}
    project.run("iteration")
    assert statuses(project) == {"FINISHED"}


def test_a_killed_command_ends_as_one_that_was_not(project, tmp_path):
    """After kill -9 and the same command again MLflow has one run, each value once, none open."""
    project.halt(at=3, how="kill")
    process = project.start("--pipeline=iteration")
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, said
    assert "RUNNING" in statuses(project)
    project.run("iteration")
    assert statuses(project) == {"FINISHED"}
    twice = [place for place, times in points(project).items() if times > 1]
    assert not twice
    project.run("iteration", params={"data": "data/undisturbed"})
    assert set(points(project).values()) == {2}
    assert sum("model" not in run.data.tags for run in all_runs(project)) == 2


def test_an_iteration_that_was_killed_after_its_training_is_finished_first(iterated):
    """The same command makes no M3 before M2 is measured."""
    lost = iterated.path / "data/08_reporting/m2/eval_metrics.json.manifest.json"
    lost.unlink()
    iterated.run("iteration")
    assert lost.exists()
    assert not (iterated.path / "data/06_models/m3").exists()
    iterated.run("iteration")
    assert (iterated.path / "data/06_models/m3").exists()
