"""Models in the catalog."""

import json

import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.checkpoint import CheckpointDataset
from srlm_kedro.records import Checkpoint


def model_folder(path, word="weights"):
    path.mkdir(parents=True)
    (path / "model.safetensors").write_text(word)
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (path / "tokenizer.json").write_text("{}")
    return path


def test_saving_moves_the_folder_and_loading_gives_its_handle(tmp_path):
    """The engine's scratch folder becomes the catalog's, and the handle knows its name."""
    dataset = CheckpointDataset(filepath=str(tmp_path / "models/m2"), name="m2")
    scratch = model_folder(tmp_path / "scratch")
    dataset.save(Checkpoint(scratch, "scratch"))
    assert dataset.load() == Checkpoint(tmp_path / "models/m2", "m2")
    assert not scratch.exists()


def test_saving_again_replaces_the_model_and_leaves_nothing_beside(tmp_path):
    """An older model is gone, file by file, and no half-written folder stays."""
    dataset = CheckpointDataset(filepath=str(tmp_path / "models/m2"), name="m2")
    dataset.save(Checkpoint(model_folder(tmp_path / "a", "old"), "scratch"))
    (tmp_path / "models/m2/extra.json").write_text("{}")
    dataset.save(Checkpoint(model_folder(tmp_path / "b", "new"), "scratch"))
    assert (tmp_path / "models/m2/model.safetensors").read_text() == "new"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["m2"]
    assert not (tmp_path / "models/m2/extra.json").exists()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("model.safetensors", "holds no \\*.safetensors"),
        ("config.json", "holds no config.json"),
        ("tokenizer.json", "holds no tokenizer"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused(tmp_path, broken, said):
    """The message names what is missing."""
    (model_folder(tmp_path / "m1") / broken).unlink()
    with pytest.raises(DatasetError, match=said):
        CheckpointDataset(filepath=str(tmp_path / "m1"), name="m1").load()


@pytest.mark.parametrize("text", ["not json", "{}"])
def test_a_config_that_is_none_is_refused(tmp_path, text):
    """A config.json must be JSON and name its architecture."""
    (model_folder(tmp_path / "m1") / "config.json").write_text(text)
    with pytest.raises(DatasetError, match="its config"):
        CheckpointDataset(filepath=str(tmp_path / "m1"), name="m1").load()


def test_a_missing_folder_is_refused(tmp_path):
    """No folder, no checkpoint."""
    dataset = CheckpointDataset(filepath=str(tmp_path / "nowhere"), name="m1")
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="no such folder"):
        dataset.load()
