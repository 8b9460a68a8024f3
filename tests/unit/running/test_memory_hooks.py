"""Which engines are freed before a node."""

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import node

from srlm_kedro.running.hooks import MemoryHooks


class Holder:
    """An engine that counts how often it was built and released."""

    built = 0

    def __init__(self) -> None:
        type(self).built += 1
        self.released = 0

    def release(self) -> None:
        self.released += 1


@pytest.fixture
def catalog(monkeypatch):
    monkeypatch.setattr(Holder, "built", 0)
    entry = {
        "type": "srlm_kedro.datasets.engine.EngineDataset",
        "engine": "tests.unit.running.test_memory_hooks.Holder",
    }
    return DataCatalog.from_config(
        {"sampler": entry, "trainer": entry, "table": {"type": "MemoryDataset"}}
    )


def uses(*inputs: str):
    return node(lambda *values: None, list(inputs), "out", name="-".join(inputs))


def test_another_engine_is_freed_before_a_node_that_uses_one(catalog):
    """The sampler is freed before training, and the trainer before sampling."""
    sampler, trainer = catalog.load("sampler"), catalog.load("trainer")
    MemoryHooks().before_node_run(uses("table", "trainer"), catalog)
    assert (sampler.released, trainer.released) == (1, 0)
    MemoryHooks().before_node_run(uses("sampler"), catalog)
    assert (sampler.released, trainer.released) == (1, 1)


def test_a_node_keeps_all_its_engines(catalog):
    """A node that samples and compares keeps both engines."""
    sampler, trainer = catalog.load("sampler"), catalog.load("trainer")
    MemoryHooks().before_node_run(uses("sampler", "trainer"), catalog)
    assert (sampler.released, trainer.released) == (0, 0)


def test_sampling_keeps_its_model_across_other_nodes(catalog):
    """A node without an engine between two sampling nodes frees nothing."""
    sampler = catalog.load("sampler")
    for each in (uses("sampler"), uses("table"), uses("sampler", "table")):
        MemoryHooks().before_node_run(each, catalog)
    assert sampler.released == 0


def test_nothing_is_built_in_order_to_be_freed(catalog):
    """Engines that no node has loaded stay unbuilt."""
    MemoryHooks().before_node_run(uses("trainer"), catalog)
    MemoryHooks().after_pipeline_run(catalog)
    assert Holder.built == 0


@pytest.mark.parametrize("end", ["after_pipeline_run", "on_pipeline_error"])
def test_the_end_of_a_run_frees_all(catalog, end):
    """After a run, successful or not, no engine is loaded."""
    sampler = catalog.load("sampler")
    getattr(MemoryHooks(), end)(catalog)
    assert sampler.released == 1
