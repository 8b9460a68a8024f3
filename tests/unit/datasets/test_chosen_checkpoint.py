"""The dataset of a chosen model, which is a reference to one of several models."""

import json
import shutil

import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.models import ChosenCheckpointDataset
from srlm_kedro.freshness.manifest import content_digest, mark_thinned, write_manifest
from srlm_kedro.records import Checkpoint


def scripted(folder, text="{}"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(text)
    return folder


@pytest.fixture
def best(tmp_path):
    return ChosenCheckpointDataset(filepath=str(tmp_path / "data/reports/m2/best.json"), name="m2")


def test_the_chosen_model_comes_under_the_name_of_its_place(best, tmp_path):
    """M1, chosen in place of M2, counts as M2: seeds and schedules depend on the iteration."""
    m1 = scripted(tmp_path / "data/models/m1")
    assert not best.exists()
    best.save(Checkpoint(m1, "m1"))
    assert best.exists()
    assert best.load() == Checkpoint(m1, "m2")
    assert best.load().iteration == 2
    assert (m1 / "model.json").exists()


def test_the_note_follows_the_choice_and_the_models_content(best, tmp_path):
    """Another choice or a remade model changes the note; the same model gives the same bytes."""
    note = tmp_path / "data/reports/m2/best.json"

    def digest_of(name, text):
        best.save(Checkpoint(scripted(tmp_path / f"data/models/{name}", text), name))
        return content_digest(note)

    first = digest_of("m1", "{}")
    assert digest_of("m1", "{}") == first
    assert len({first, digest_of("m2", "{}"), digest_of("m1", '{"remade": 1}')}) == 3


def test_the_digest_is_of_the_files_or_of_the_deleted_ones(best, tmp_path):
    """Thinned weights count by the digest of the deleted files, others by their bytes."""
    m1 = scripted(tmp_path / "data/models/m1")
    write_manifest(m1, {})
    digest = content_digest(m1)

    def noted():
        best.save(Checkpoint(m1, "m1"))
        return json.loads((tmp_path / "data/reports/m2/best.json").read_text())["digest"]

    (m1 / "model.json").write_text("[]")
    assert noted() == content_digest(m1) != digest
    mark_thinned(m1)
    assert noted() == digest


def test_a_data_folder_can_move(best, tmp_path):
    """The note names the folder relative to itself."""
    best.save(Checkpoint(scripted(tmp_path / "data/models/m1"), "m1"))
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    moved = ChosenCheckpointDataset(str(tmp_path / "elsewhere/reports/m2/best.json"), "m2")
    assert moved.load().path == tmp_path / "elsewhere/models/m1"


def test_a_choice_that_is_gone_is_refused(best, tmp_path):
    """The message names the folder."""
    m1 = scripted(tmp_path / "data/models/m1")
    best.save(Checkpoint(m1, "m1"))
    shutil.rmtree(m1)
    with pytest.raises(DatasetError, match=r"models/m1: a checkpoint is a Hugging Face folder"):
        best.load()
