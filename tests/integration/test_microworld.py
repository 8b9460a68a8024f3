"""The embedded default with its real engines, at small size."""

import pytest

from srlm_kedro.manifest import content_digest

SMALL = {
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
    assert len(committed) == 3
    project.run("seed_data", env="base")
    assert {path.name: path.read_bytes() for path in folder.glob("*.jsonl")} == committed
