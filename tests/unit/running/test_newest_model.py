"""Which model is the newest one that a run can continue from."""

import pytest
from kedro.io import DataCatalog

from srlm_kedro.freshness.manifest import content_digest, write_manifest
from srlm_kedro.running.composition import newest_model


@pytest.fixture
def chain(tmp_path):
    """Writes outputs with their content and inputs; returns the newest model."""

    def newest(outputs, trained=9):
        config = {}
        for name, (content, _) in outputs.items():
            (tmp_path / name).write_text(content)
        for name, (_, parts) in outputs.items():
            made = {elder: digest(content) for elder, content in parts.items()}
            write_manifest(tmp_path / name, {"parts": made})
            kind = "Chosen" if name.endswith("best") else ""
            config[name] = {
                "type": f"srlm_kedro.datasets.models.{kind}CheckpointDataset",
                "filepath": str(tmp_path / name),
                "name": name.partition(".")[0],
            }
            metrics = f"{name.partition('.')[0]}.train_metrics"
            if int(name[1]) <= trained:
                (tmp_path / metrics).touch()
                write_manifest(tmp_path / metrics, {})
                config[metrics] = {"type": "json.JSONDataset", "filepath": str(tmp_path / metrics)}
        missing = {
            "type": "srlm_kedro.datasets.models.CheckpointDataset",
            "filepath": str(tmp_path / "none"),
            "name": "{model}",
        }
        return newest_model(DataCatalog.from_config({**config, "{model}.{kind}": missing}))

    def digest(content):
        file = tmp_path / "content"
        file.write_text(content)
        return content_digest(file)

    return newest


def test_it_is_the_last_of_a_chain_each_made_from_the_one_before_as_it_is(chain):
    """A model does not count if its predecessor was made again since."""
    m1, m2 = ("a", {}), ("bb", {"m1.model": "a"})
    assert chain({}) == 0
    assert chain({"m1.model": m1, "m2.model": m2, "m3.model": ("c", {"m2.model": "bb"})}) == 3
    assert chain({"m1.model": m1, "m2.model": m2, "m3.model": ("c", {"m2.model": "old"})}) == 2


def test_a_model_whose_logs_were_not_saved_does_not_count(chain):
    """Its training was killed after the model was saved and before the metrics were."""
    models = {"m1.model": ("a", {}), "m2.model": ("bb", {"m1.model": "a"})}
    assert chain(models, trained=1) == 1
    assert chain(models, trained=2) == 2


def test_a_model_of_a_choice_that_was_made_anew_does_not_count(chain):
    """M3 was made from the best of M1 and M2, and now another model is the best."""
    elders = {"m1.model": ("a", {}), "m2.model": ("bb", {"m1.model": "a"}), "m2.best": ("x", {})}
    assert chain({**elders, "m3.model": ("c", {"m2.best": "x"})}) == 3
    assert chain({**elders, "m3.model": ("c", {"m2.best": "old"})}) == 2
