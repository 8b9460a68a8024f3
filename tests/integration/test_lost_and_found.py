"""Outputs that are lost, damaged or thinned out between two runs of the same command."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest, is_thinned

DATA = "data/0[2-8]*/**/*"


def contents(project, data="data"):
    """Every output's bytes as a digest, by its path; manifests, which hold times, left out."""
    files = (path for path in project.path.glob(f"{data}/0[2-8]*/**/*") if path.is_file())
    return {path: content_digest(path) for path in files if "manifest" not in path.name}


def relative(found, folder):
    """Without what tells seconds."""
    timed = ("iterations.csv", "report.html", "summary.txt")
    return {str(p.relative_to(folder)): d for p, d in found.items() if p.name not in timed}


def times(project):
    return {path: path.stat().st_mtime_ns for path in project.path.glob(DATA) if path.is_file()}


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("05_model_input/m2/pairs.parquet", flip),
        ("06_models/m1/model.json", lambda file: file.unlink()),
        ("08_reporting/report.html", flip),
    ],
)
def test_a_harmed_output_is_remade_and_nothing_else(done, name, harm):
    """It comes out as it was, and so all that was made from it stays; but a model has its card."""
    before, written = contents(done), times(done)
    harm(done.path / "data" / name)
    done.run()
    assert contents(done) == before
    notes = [path for path, time in times(done).items() if written.get(path) != time]
    ran = {json.loads(path.read_text())["node"] for path in notes if "manifest" in path.name}
    assert len(ran - {"m1.write_card"}) == 1


def test_a_part_of_the_pipeline_refuses_harmed_inputs(done):
    """It names the file, and the command that makes it again."""
    flip(done.path / "data/06_models/m2/model.json")
    (done.path / "data/07_model_output/m3/prompts.parquet").unlink()
    with pytest.raises(InputError, match=r"m2\.model is damaged \(model\.json\).*`kedro run`"):
        done.run(namespaces=["m3"])


def test_weights_that_nothing_needs_go_and_come_back_when_something_does(project, caplog):
    """`keep_models: 1`: M2's go in a run to M3; all else is that of a run that keeps them."""
    project.run()
    other, keep = project.path / "data/other", {"data": "data/other", "keep_models": 1}
    m2 = other / "06_models/m2/model.json"
    before = relative(contents(project), project.path / "data")
    project.run(params=keep)
    assert [path.name for path in m2.parents[1].iterdir() if is_thinned(path)] == ["m2"]
    after = relative(contents(project, "data/other"), other)
    assert after == {name: digest for name, digest in before.items() if "m2/model" not in name}

    versions = MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db").search_model_versions()
    folders = {v.tags["model"]: Path(local_file_uri_to_path(v.source)) for v in versions}
    assert all((folder / "MLmodel").exists() for folder in folders.values())
    assert [name for name in folders if not (folders[name] / "model.json").exists()] == ["m2"]

    caplog.clear()
    project.run(params=keep)
    assert "Nothing to do" in caplog.text

    project.run(params=keep | {"evaluation": {"greedy": False}})
    assert "m2.model was thinned out, and is needed" in caplog.text
    assert "write_prompts" not in caplog.text
    assert is_thinned(m2.parent)
    project.run(params=keep | {"keep_models": "all"})
    assert relative(contents(project, "data/other"), other) == before


def test_a_finished_run_is_thinned_out_too(project, caplog):
    """`keep_models: 1` after a run that kept all: no node runs, and M2's weights go nonetheless."""
    project.run()
    before = relative(contents(project), project.path / "data")
    caplog.clear()
    project.run(params={"keep_models": 1})
    assert "Nothing to make, 1 models thinned out: all" in caplog.text
    models = project.path / "data/06_models"
    assert [path.name for path in models.iterdir() if is_thinned(path)] == ["m2"]
    after = relative(contents(project), project.path / "data")
    assert after == {name: digest for name, digest in before.items() if "m2/model" not in name}
    versions = MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db").search_model_versions()
    folders = {v.tags["model"]: Path(local_file_uri_to_path(v.source)) for v in versions}
    assert [name for name in folders if not (folders[name] / "model.json").exists()] == ["m2"]
    caplog.clear()
    project.run(params={"keep_models": 1})
    assert "Nothing to do: all" in caplog.text


def test_status_tells_what_a_run_would_thin_out(done, capsys):
    """And a run then deletes that; nothing where nothing is thinned."""
    models = done.path / "data/06_models"

    def told(**params):
        done.run("status", params=params)
        return capsys.readouterr().out.strip().splitlines()[-1]

    assert told().endswith("A run has nothing to do.")
    said = "keep_models: a run deletes the weights of M2; their other files stay."
    assert told(keep_models=1) == said
    assert told(keep_models=1, seed=7) == said  # M1 to M3 are made anew
    assert told(keep_models=2).endswith("A run has nothing to do.")
    assert not any(is_thinned(path) for path in models.iterdir())
    done.run(params={"keep_models": 1})
    assert [path.name for path in models.iterdir() if is_thinned(path)] == ["m2"]
    assert told(keep_models=1).endswith("A run has nothing to do.")
