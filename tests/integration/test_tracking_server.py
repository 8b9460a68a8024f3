"""A tracking server of one's own, on the loopback: what goes there, and what it costs if it is not
there.
"""

import itertools
import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

from srlm_kedro.errors import InputError
from srlm_kedro.tracking import model_runs, trouble
from tests.integration.test_tracking import SHIPPED, made_by, names_of, outputs_of, run


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_database):
    """The server's folder: database and artifacts."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def server(store):
    """Its address."""
    script = Path(__file__).with_name("mlflow_server.py")
    # Without its folder on the path: a `secrets.py` there would hide Python's own.
    process = subprocess.Popen(
        [sys.executable, "-P", str(script), str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=store,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A project of a few nodes that is run from another folder."""
    folder = tmp_path / "small"
    (folder / "conf/base").mkdir(parents=True)
    shutil.copy(SHIPPED, folder / "conf/base")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(model_runs, "pipelines", {})
    yield folder
    while mlflow.active_run():
        mlflow.end_run()


def name_server(project: Path, uri: str, experiment: str = "srlm_kedro") -> None:
    """As a user does, for this machine."""
    tracking = {"experiment": {"name": experiment}}
    config = {"server": {"mlflow_tracking_uri": uri}, "tracking": tracking}
    (project / "conf/local/mlflow.yml").write_text(yaml.safe_dump(config), "utf-8")


def runs_of(client: MlflowClient, experiment: str) -> dict[str, str]:
    """The run ids by model, and the parent's."""
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id])
    assert {item.info.status for item in runs} == {"FINISHED"}
    return {item.data.tags.get("model", "parent"): item.info.run_id for item in runs}


def test_a_run_with_an_environment_fills_the_servers_own_store(project, server, store, capsys):
    """`conf/local/mlflow.yml` counts with `--env=test` too; nothing is left on this machine."""
    name_server(project.path, server, "whole")
    project.run("foundation")
    assert server not in capsys.readouterr().out  # MLflow would print the address of each run
    client = MlflowClient(server)
    runs = runs_of(client, "whole")
    assert {"parent", "m1"} <= set(runs)
    version = client.get_model_version_by_alias("srlm_kedro-test", "m1")
    assert version.source.startswith("mlflow-artifacts:/")
    assert {"model/MLmodel", "model/model.json"} <= names_of(client, runs["m1"], "model")
    assert list(store.glob(f"store/*/{runs['m1']}/artifacts/model/model.json"))
    assert not (project.path / "mlruns/artifacts").exists()


def test_the_variable_counts_before_every_file(small, server, store, monkeypatch, caplog):
    """It is used and logged; the variables that MLflow sets are restored after the run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with caplog.at_level(logging.INFO):
        run(small, made_by(outputs_of(small, "m2")))
    assert f"runs go to {server}, as MLFLOW_TRACKING_URI says" in caplog.text
    assert "m2" in runs_of(MlflowClient(server), "srlm_kedro")
    assert not (small / "mlruns").exists()
    assert os.environ["MLFLOW_TRACKING_URI"] == server
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    run(small, made_by(outputs_of(small, "m2")))
    assert (small / "mlruns/mlflow.db").exists()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ


def test_an_experiment_that_keeps_its_artifacts_here_is_told(small, server, monkeypatch, caplog):
    """Earlier versions made such experiments; they work, and a warning says what to change."""
    place = (small / "mlruns/artifacts").as_uri()
    MlflowClient(server).create_experiment("earlier", artifact_location=place)
    text = SHIPPED.read_text("utf-8").replace("name: srlm_kedro", "name: earlier")
    (small / "conf/base/mlflow.yml").write_text(text, "utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    run(small, made_by(outputs_of(small, "m2")))
    assert "keeps its artifacts on this machine" in caplog.text
    assert "tracking.experiment.name" in caplog.text


@pytest.fixture
def silent():
    """A server that accepts connections and never answers; it records whether it was called."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def calls(listening: socket.socket) -> int:
    """How often it was called since it was last asked."""
    for number in itertools.count():
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return number
    raise AssertionError


def test_a_server_that_does_not_answer_is_asked_twice_at_most(project, silent, monkeypatch):
    """One message names it and its setting before any work; `status` does not call it."""
    monkeypatch.setitem(trouble._FEW_TRIES, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    host, port = silent.getsockname()
    name_server(project.path, f"http://user:hunter2@{host}:{port}")
    project.run("status")
    assert calls(silent) == 0
    with pytest.raises(InputError, match=r"timed out.*Start the server.*mlflow_tracking_uri") as no:
        project.run("foundation")
    assert 1 <= calls(silent) <= 2
    assert f"MLflow at http://{host}:{port}: " in str(no.value)
    assert "hunter2" not in str(no.value)
    assert not (project.path / "data/02_intermediate").exists()
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_server_that_is_not_there_is_told_by_the_system(project, silent, monkeypatch):
    """The message names the setting; a pipeline that is not recorded needs no server."""
    host, port = silent.getsockname()
    silent.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{host}:{port}")
    said = r"no answer \(\[Errno \d+\] Connection refused\)\..*the variable MLFLOW_TRACKING_URI"
    with pytest.raises(InputError, match=said):
        project.run("foundation")
    project.run("estimate")
    assert list((project.path / "data").rglob("*estimate*"))


def test_a_run_with_nothing_to_do_points_to_the_server_and_asks_it_nothing(done, silent, capsys):
    """The closing text names the address without its password."""
    done.run()
    assert "make mlflow, then http://127.0.0.1:5000/#/experiments" in capsys.readouterr().out
    host, port = silent.getsockname()
    name_server(done.path, f"http://user:hunter2@{host}:{port}/mlflow/")
    done.run()
    said = capsys.readouterr().out
    assert f"MLflow UI  http://{host}:{port}/mlflow/#/experiments (the experiment srlm" in said
    assert "5000" not in said
    assert "hunter2" not in said
    assert calls(silent) == 0
