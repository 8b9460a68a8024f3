"""The embedded default with its real engines, at small size."""

import json

import pytest
import yaml

from srlm_kedro.errors import InputError
from srlm_kedro.freshness.digests import file_digest
from srlm_kedro.freshness.manifest import content_digest
from tests.integration.conftest import ROOT

SMALL = {
    "loop": {"pretrain": True},
    "microworld": {"corpus": {"documents": 300}},
    "pretraining": {"hidden_size": 32, "layers": 2, "heads": 2, "mlp_size": 64},
    "sft": {"epochs": 0.25},
}


@pytest.fixture
def digests(project):
    """Makes M0 and the SFT baseline in a folder of its own and gives their digests."""

    def made(folder, **params):
        given = {**SMALL, "data": folder, **params}
        project.run(env="base", params=given, to_outputs=["sft.model"])
        models = project.path / folder / "06_models"
        return [content_digest(models / name) for name in ("m0", "sft")]

    return made


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(digests):
    """Checkpoint for checkpoint, on CPU."""
    first = digests("data/a")
    assert digests("data/b") == first
    assert not set(digests("data/c", seed=1)) & set(first)


def test_the_committed_seed_data_are_what_the_command_makes(project):
    """`kedro run --pipeline=seed_data` writes the same bytes."""
    folder = project.path / "data/01_raw"
    committed = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    assert set(committed) == {"ift.jsonl", "eft.jsonl", "eft_points.jsonl", "eval_prompts.jsonl"}
    project.run("seed_data", env="base")
    points = {"microworld": {"seed_data": {"points": True}}}
    project.run("seed_data", env="criteria", params=points)
    assert {path.name: path.read_bytes() for path in folder.glob("*.jsonl")} == committed


def test_a_run_starts_from_the_m0_that_comes_with_the_project(project):
    """Bit by bit, whatever the seed; the committed one stays where it is."""
    shipped = content_digest(project.path / "data/01_raw/m0")
    for seed in (0, 1):
        project.run(
            env="base", params={"data": f"data/{seed}", "seed": seed}, node_names=["m0.take_m0"]
        )
        assert content_digest(project.path / f"data/{seed}/06_models/m0") == shipped
    assert content_digest(project.path / "data/01_raw/m0") == shipped


def test_the_committed_m0_is_what_its_card_says():
    """The sum of its weights, its size and its architecture."""
    folder = ROOT / "data/01_raw/m0"
    card = (folder / "README.md").read_text("utf-8")
    assert file_digest(folder / "model.safetensors") in card
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["num_hidden_layers"], config["hidden_size"]) == (4, 128)
    assert "4 layers, width 128" in card
    made_here = yaml.safe_load((ROOT / "conf/base/parameters.yml").read_text("utf-8"))
    assert (made_here["seed"], made_here["microworld"], made_here["pretraining"]) == (0, {}, {})


def test_m0_is_made_again_where_it_lies(project):
    """`kedro run --pipeline=m0` writes the weights and their card, and nothing of a loop."""
    before = content_digest(project.path / "data/01_raw/m0")
    small = {name: SMALL[name] for name in ("microworld", "pretraining")}
    project.run("m0", env="base", params=small)
    folder = project.path / "data/01_raw/m0"
    assert content_digest(folder) != before
    assert file_digest(folder / "model.safetensors") in (folder / "README.md").read_text("utf-8")
    assert not (project.path / "data/06_models/m0").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("pretraining", {"layers": 2}), ("microworld", {"corpus": {"documents": 300}})],
)
def test_settings_of_a_pretraining_that_does_not_happen_are_refused(project, name, value):
    """The message says which setting makes it happen."""
    with pytest.raises(InputError, match=rf"`{name}.*nothing reads it.*loop\.pretrain=true"):
        project.run(env="base", params={name: value})


def test_a_run_finds_m0_from_any_folder(project, monkeypatch, tmp_path):
    """It lies in the project, wherever the command is typed."""
    monkeypatch.chdir(tmp_path)
    project.run(env="base", params={"data": "data/elsewhere"}, node_names=["m0.take_m0"])
    assert (project.path / "data/elsewhere/06_models/m0/config.json").exists()


def test_another_judge_prompt_starts_from_the_same_m0(project):
    """On a fresh clone too: no main run has to come before it."""
    project.run(env="multiple_choice", node_names=["m0.take_m0"])
    shipped = content_digest(project.path / "data/01_raw/m0")
    assert content_digest(project.path / "data/06_models/m0") == shipped
