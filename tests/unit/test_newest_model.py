"""Which model is the newest that another can be made from."""

import json

import pytest
from kedro.io import DataCatalog

from srlm_kedro.preflight import newest_model


@pytest.fixture
def chain(tmp_path):
    """Writes the manifests of M1, M2, ... and of choices; gives the newest model."""

    def newest(manifests):
        config = {}
        for name, (digest, parts) in manifests.items():
            kind = "chosen.Chosen" if name.endswith("best") else "checkpoint."
            path = tmp_path / name
            config[name] = {
                "type": f"srlm_kedro.datasets.{kind}CheckpointDataset",
                "filepath": str(path),
                "name": name.partition(".")[0],
            }
            path.mkdir(exist_ok=True)
            note = {"digest": digest, "parts": parts}
            (tmp_path / f"{name}.manifest.json").write_text(json.dumps(note))
        missing = {
            "type": "srlm_kedro.datasets.checkpoint.CheckpointDataset",
            "filepath": str(tmp_path / "none"),
            "name": "{model}",
        }
        return newest_model(DataCatalog.from_config({**config, "{model}.{kind}": missing}))

    return newest


def test_it_is_the_last_of_a_chain_each_made_from_the_one_before_as_it_is(chain):
    """A model of an elder that was remade since does not count."""
    m1, m2 = ("a", {}), ("b", {"m1.model": "a"})
    assert chain({}) == 0
    assert chain({"m1.model": m1, "m2.model": m2, "m3.model": ("c", {"m2.model": "b"})}) == 3
    assert chain({"m1.model": m1, "m2.model": m2, "m3.model": ("c", {"m2.model": "old"})}) == 2


def test_a_model_of_a_choice_that_was_made_anew_does_not_count(chain):
    """M3 was made from the best of M1 and M2, which is another now."""
    elders = {"m1.model": ("a", {}), "m2.model": ("b", {"m1.model": "a"}), "m2.best": ("x", {})}
    assert chain({**elders, "m3.model": ("c", {"m2.best": "x"})}) == 3
    assert chain({**elders, "m3.model": ("c", {"m2.best": "old"})}) == 2
