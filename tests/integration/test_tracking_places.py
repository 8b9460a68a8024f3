"""Runs and artifacts are written in this project, even if it was moved or copied."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import is_thinned
from srlm_kedro.records import Checkpoint
from srlm_kedro.tracking import model_runs
from srlm_kedro.tracking.address import sqlite_uri
from srlm_kedro.tracking.places import local_path
from srlm_kedro.tracking.registry import drop_weights, register_checkpoint
from tests.integration.conftest import Project
from tests.integration.test_tracking import SHIPPED, checkpoint, made_by, names_of, outputs_of, run

NAMES = ["e%20f", "a#b?c=d", "ä '&;50%"]


@pytest.fixture
def make(tmp_path, empty_database, monkeypatch):
    """Makes a small project with that name, which is run from another folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(model_runs, "pipelines", {})

    def make(name: str) -> Path:
        folder = tmp_path / "projects" / name
        for part in ("conf/base", "mlruns"):
            (folder / part).mkdir(parents=True)
        shutil.copy(SHIPPED, folder / "conf/base")
        shutil.copy(empty_database, folder / "mlruns/mlflow.db")
        return folder

    yield make
    while mlflow.active_run():
        mlflow.end_run()


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(sqlite_uri(folder / "mlruns/mlflow.db"))


def sums(folder: Path) -> dict[str, str]:
    """Every file and folder below, with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        )
        for path in sorted(folder.rglob("*"))
    }


def paths_in(folder: Path) -> set[Path]:
    """All paths in the project's database, except those of MLflow's `Default` experiment."""
    asked = (
        "SELECT artifact_location FROM experiments WHERE experiment_id > 0 "
        "UNION SELECT artifact_uri FROM runs "
        "UNION SELECT source FROM model_versions UNION SELECT storage_location FROM model_versions"
    )
    with closing(sqlite3.connect(folder / "mlruns/mlflow.db")) as database:
        rows = [row for (row,) in database.execute(asked)]
    return {path for path in map(local_path, rows) if path is not None}


def work(folder: Path, model: str) -> None:
    """A run that makes the model."""
    run(folder, made_by(outputs_of(folder, model)))


@pytest.mark.parametrize("copy", ["beside", "inside"])
def test_a_copy_writes_into_itself(make, copy):
    """The first project does not change; the copy shows old and new runs."""
    first = make("first")
    work(first, "m2")
    second = first.parent / "second" if copy == "beside" else first / "second"
    shutil.copytree(first, second)
    before = sums(first)
    work(second, "m3")
    after = sums(first)
    inside = {name for name in after if Path(name).parts[0] == "second"}
    assert {name: after[name] for name in after.keys() - inside} == {
        name: before[name] for name in before if Path(name).parts[0] != "second"
    }
    client = client_of(second)
    for model in ("m2", "m3"):
        version = client.get_model_version_by_alias("srlm_kedro", model)
        assert local_path(version.source).is_relative_to(second)
        assert (local_path(version.source) / "model.json").exists()
        assert "rewards.svg" in names_of(client, version.run_id)
    assert {path.is_relative_to(second) for path in paths_in(second)} == {True}
    work(first, "m3")
    assert {path.is_relative_to(second) for path in paths_in(first)} == {False}


def test_a_project_that_was_moved_leaves_nothing_behind(make):
    """Its old folder is not made again, and nothing is written into a new one there."""
    first = make("first")
    work(first, "m2")
    second = first.parent / "second"
    first.rename(second)
    work(second, "m3")
    assert not first.exists()
    assert {path.is_relative_to(second) for path in paths_in(second)} == {True}
    third = first.parent / "second and third"
    second.rename(third)
    work(third, "m4")
    assert [path.name for path in first.parent.iterdir()] == [third.name]
    assert len({path for path in paths_in(third) if path.name == "model"}) == 3


def test_a_project_that_is_run_again_changes_no_path(make):
    """A link to the project is the same folder."""
    first = make("first")
    work(first, "m2")
    before = paths_in(first)
    (first.parent / "link").symlink_to(first)
    work(first.parent / "link", "m2")
    assert before <= paths_in(first)


def test_weights_of_a_copy_are_thinned_in_the_copy(project, tmp_path, monkeypatch):
    """`keep_models: 1` in a copy of a project leaves the first project as it is."""
    project.run("iteration")
    before = sums(project.path)
    second = Project(tmp_path / "second")
    shutil.rmtree(second.path)
    shutil.copytree(project.path, second.path)
    monkeypatch.chdir(second.path)
    second.run(params={"keep_models": 1})
    assert is_thinned(second.path / "data/06_models/m2")
    assert sums(project.path) == before
    versions = client_of(second.path).search_model_versions("name = 'srlm_kedro-test'")
    folders = {v.tags["model"]: local_path(v.source) for v in versions}
    assert {folder.is_relative_to(second.path) for folder in folders.values()} == {True}
    assert [name for name in folders if not (folders[name] / "model.json").exists()] == ["m2"]


def test_weights_elsewhere_or_of_another_content_are_not_deleted(make):
    """In a shared registry another project may have a model of the same name."""
    folder = make("first")
    client = client_of(folder)
    place = (folder / "mlruns/artifacts").as_uri()
    experiment = client.create_experiment("one", artifact_location=place)
    run_id = client.create_run(experiment).info.run_id
    model = checkpoint(folder, "m2")
    register_checkpoint(client, run_id, "shared", Checkpoint(model.path, "m2"), "c0ffee")
    version = client.get_model_version_by_alias("shared", "m2")
    weights = local_path(version.source) / "model.json"
    drop_weights(client, "shared", "m2", "c0ffee", (folder.parent / "second").as_uri())
    drop_weights(client, "shared", "m2", "beef", place)
    assert weights.exists()
    drop_weights(client, "shared", "m2", "c0ffee", place)
    assert not weights.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_have_any_name(make, name):
    """Database and artifacts are in the folder, and nothing is beside it."""
    folder = make(name)
    (folder / "mlruns/mlflow.db").unlink()
    work(folder, "m2")
    assert [path.name for path in folder.parent.iterdir()] == [name]
    assert {path.is_relative_to(folder) for path in paths_in(folder)} == {True}
    version = client_of(folder).get_model_version_by_alias("srlm_kedro", "m2")
    found = Path(mlflow.artifacts.download_artifacts("models:/srlm_kedro@m2"))
    assert (found / "model.json").exists()
    assert (local_path(version.source) / "model.json").exists()


def test_mlruns_may_be_a_link_to_another_disk(make):
    """The link moves with the project, and the files that it names stay where they are."""
    first = make("first")
    disk = first.parent / "disk"
    (first / "mlruns").rename(disk)
    (first / "mlruns").symlink_to(disk)
    work(first, "m2")
    second = first.parent / "second"
    shutil.copytree(first, second, symlinks=True)
    work(second, "m3")
    shutil.rmtree(first)
    work(second, "m4")
    assert not first.exists()
    client = client_of(second)
    versions = [client.get_model_version_by_alias("srlm_kedro", f"m{t}") for t in (2, 3, 4)]
    folders = {local_path(version.source).resolve() for version in versions}
    assert len(folders) == 3
    assert {(folder / "model.json").exists() for folder in folders} == {True}
    assert {folder.is_relative_to(disk) for folder in folders} == {True}


def test_a_database_of_two_projects_keeps_their_artifacts_apart(make):
    """The second is refused with advice; with its own experiment it runs in its own folder."""
    first, second = make("first"), make("second")
    shared = first.parent.parent / "shared.db"
    shutil.copy(first / "mlruns/mlflow.db", shared)
    for folder in (first, second):
        text = (folder / "conf/base/mlflow.yml").read_text("utf-8")
        text = text.replace("sqlite:///mlruns/mlflow.db", f"sqlite:///{shared}")
        (folder / "conf/base/mlflow.yml").write_text(text, "utf-8")
    work(first, "m2")
    before = sums(first)
    with pytest.raises(InputError, match=r"outside this project.*tracking\.experiment\.name"):
        work(second, "m2")
    (second / "conf/base/mlflow.yml").write_text(text.replace("srlm_kedro\n", "other\n"), "utf-8")
    work(second, "m3")
    assert sums(first) == before
    assert list((second / "mlruns/artifacts").iterdir())
