"""Tracking that does not work is one plain message before any work, and only if it is needed."""

import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from srlm_kedro.errors import GateError, InputError
from srlm_kedro.tracking import database, run_owner
from srlm_kedro.tracking.run_tree import RunTree
from tests.integration.conftest import ROOT
from tests.integration.test_ends import all_runs, statuses, tracked
from tests.integration.test_starting import Kill


@pytest.fixture
def file(project):
    """The project's database."""
    return project.path / "mlruns/mlflow.db"


def execute(file, statement):
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def dangle(file):
    file.unlink()
    file.symlink_to("/nowhere/mlflow.db")


def dangle_above(file):
    shutil.rmtree(file.parent)
    file.parent.symlink_to("/nowhere")


def be_a_folder(file):
    file.unlink()
    file.mkdir()


def be_text(file):
    file.write_text("no database at all, but a file of some length\n" * 200)


def be_anothers(file):
    file.unlink()
    execute(file, "CREATE TABLE addresses (name TEXT)")


def be_older(file):
    execute(file, "UPDATE alembic_version SET version_num = '451aebb31d03'")


def be_newer(file):
    execute(file, "UPDATE alembic_version SET version_num = 'ffffffffffff'")


SPOILT = {
    dangle: r"mlflow\.db: a link to /nowhere/mlflow\.db, which is not there.*mounted",
    dangle_above: r"mlruns: a link to /nowhere, which is not there.*mounted",
    be_a_folder: r"a folder, but must be MLflow's database.*conf/local/mlflow\.yml",
    be_text: r"file is not a database\. Put a copy.*back, or move that file away",
    be_anothers: r"a database, but not MLflow's.*conf/local/mlflow\.yml",
    be_older: r"written by an older MLflow.*copy.*mlflow db upgrade \"sqlite:///\S+mlflow\.db\"",
    be_newer: r"written by a newer MLflow.*Install the newer one, or name another",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_database_that_cannot_be_used_is_one_message_before_any_work(project, file, spoil):
    """The message says what to do; nothing changes; `status` does not read the database."""
    spoil(file)
    project.run("status")
    with pytest.raises(InputError, match=SPOILT[spoil]) as refusal:
        project.run("foundation")
    assert "\n" not in str(refusal.value)
    assert not (project.path / "data/02_intermediate").exists()
    assert not (project.path / "data/.mark").exists()
    with pytest.raises(InputError, match=SPOILT[spoil]):
        project.run("foundation")


def test_an_entry_that_mlflow_yml_does_not_have_is_named(project):
    """The message has its full name; a typing error is not ignored."""
    text = "server: {tracking_uri: http://one}"
    (project.path / "conf/local/mlflow.yml").write_text(text, "utf-8")
    project.run("status")
    with pytest.raises(InputError, match=r"mlflow\.yml: server\.tracking_uri: Extra") as refusal:
        project.run("foundation")
    assert "\n" not in str(refusal.value)


@contextmanager
def locked(file):
    """Another process keeps the database locked."""
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


def test_a_locked_database_is_waited_for_and_told(project, file, monkeypatch):
    """The message names the file; afterwards the same command works."""
    monkeypatch.setattr(database, "_BUSY_TIMEOUT", 0.2)
    with locked(file):
        project.run("status")
        with pytest.raises(InputError, match=r"locked by another process for 0\.2 seconds\. Wait"):
            project.run("foundation")
    project.run("foundation")
    assert statuses(project) == {"FINISHED"}


def test_commands_of_kedro_mlflow_tell_it_plainly_too(project, file):
    """`kedro mlflow ui` sets MLflow up as a run does."""
    dangle(file)
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "mlflow", "ui"],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "which is not there" in done.stderr.strip().splitlines()[-1]


def test_trouble_in_the_middle_of_a_run_is_one_message_too(project, monkeypatch, capfd, caplog):
    """There is no traceback in the log; the same command continues and finishes."""
    calls, write = itertools.count(1), MlflowClient.log_batch

    def fail(*arguments, **options):
        if next(calls) == 12:
            raise MlflowException("(sqlite3.OperationalError) database is locked\n[SQL: INSERT]")
        return write(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", fail)
        with pytest.raises(GateError, match=r"database is locked\. .*same command") as trouble:
            project.run("foundation")
    assert "SQL" not in str(trouble.value)
    assert not [record for record in caplog.records if record.exc_info]
    assert next(calls) > 12
    project.run("foundation")
    assert not {"RUNNING"} & statuses(project)
    assert (project.path / "data/06_models/m1").exists()


def test_mlflow_that_is_gone_at_the_end_of_a_failed_run_hides_not_why_it_failed(
    project, monkeypatch, caplog
):
    """The first error is raised, MLflow's is a warning."""
    fault = GateError("m1: the loss is no number")

    def fail(*_):
        raise fault

    def gone(*_, **__):
        raise MlflowException("no answer")

    monkeypatch.setattr("srlm_kedro.tracking.model_runs.RunRecorder.saved", fail)
    monkeypatch.setattr(MlflowClient, "set_terminated", gone)
    with pytest.raises(GateError, match="the loss is no number"):
        project.run("foundation")
    assert "no answer. Its runs stay open." in caplog.text
    mlflow.tracking.fluent._active_run_stack.get().clear()


def test_two_first_runs_at_once_both_work(project, file):
    """In a fresh clone with two data folders one run makes the database and the other waits."""
    file.unlink()
    asked = [(), ("--params=data=data/other",)]
    runs = [project.start("--pipeline=foundation", *more) for more in asked]
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert statuses(project) == {"FINISHED"}
    assert sum("model" not in run.data.tags for run in all_runs(project)) == 2


def test_a_kill_while_the_database_is_made_leaves_no_half_of_it(project, file, monkeypatch):
    """The next run makes it again."""
    file.unlink()

    def kill(*_):
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(database.os, "replace", kill)
        with (
            pytest.raises(Kill),
            database.prepared_database(file, project.path / "mlruns/artifacts"),
        ):
            pass
    assert not file.exists()
    with database.prepared_database(file, project.path / "mlruns/artifacts"):
        assert file.exists()
    assert {path.name for path in file.parent.iterdir()} <= {file.name, f".{file.name}.lock"}


def kill_on_another_host(project, monkeypatch):
    """A run to M1 on another host that is killed when it closes its first child."""

    def killed(*_):
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(run_owner.socket, "gethostname", lambda: "container-1")
        patch.setattr(RunTree, "end", killed)
        with pytest.raises(Kill):
            project.run("foundation")
    mlflow.tracking.fluent._active_run_stack.get().clear()


def test_runs_of_another_host_are_taken_over_by_who_holds_their_data_folder(project, monkeypatch):
    """The same command continues them on another host; runs of other folders stay as they are."""
    kill_on_another_host(project, monkeypatch)
    left = {run.info.run_id: run for run in all_runs(project)}
    assert statuses(project) == {"RUNNING"}
    assert len(left) > 1
    writers = {run.data.tags["srlm.process"] for run in left.values()}
    assert {writer.startswith("container-1") for writer in writers} == {True}

    project.run("foundation", params={"data": "data/other"})
    open_ones = {run.info.run_id for run in all_runs(project) if run.info.status == "RUNNING"}
    assert open_ones == set(left), "another data folder says nothing of them"
    project.run("foundation")
    assert statuses(project) == {"FINISHED"}
    parents = [run for run in all_runs(project) if "model" not in run.data.tags]
    assert len(parents) == 2
    assert set(left) <= {run.info.run_id for run in all_runs(project)}


def test_another_command_closes_them(project, monkeypatch):
    """It does not continue them, but their process no longer holds the lock of the folder."""
    kill_on_another_host(project, monkeypatch)
    left = {run.info.run_id for run in all_runs(project)}
    project.run("iteration")
    assert {tracked(project).get_run(run_id).info.status for run_id in left} == {"KILLED"}
