"""How many ranks `auto` starts, on this machine and on the nodes of a cluster."""

import pytest

from srlm_kedro.engines.size_checks import parameters_of
from srlm_kedro.engines.training.params import LoraParams
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.engines.training.trl.launch import layout
from srlm_kedro.engines.training.trl.launch.layout import Layout
from srlm_kedro.errors import InputError
from tests.engines.tuning import SFT


@pytest.fixture
def eight_cpus(monkeypatch):
    monkeypatch.setattr(layout.os, "cpu_count", lambda: 8)


@pytest.fixture
def cluster(monkeypatch):
    """Sets the devices that the nodes of a cluster have."""

    def has(**devices: list[float]):
        monkeypatch.setattr(layout, "devices_of_nodes", lambda _, kind: devices[kind])

    return has


@pytest.mark.parametrize(
    ("threads", "rows", "ranks"), [(1, 16, 8), (2, 16, 4), (3, 16, 2), (16, 16, 1), (None, 16, 1)]
)
def test_auto_fills_this_machine(eight_cpus, threads, rows, ranks):
    """A rank on a CPU needs its threads; without a number it takes all."""
    assert Layout("auto", threads=threads).size(rows) == (ranks, 1)


@pytest.mark.parametrize(("rows", "ranks"), [(16, 8), (5, 5), (1, 1)])
def test_auto_leaves_no_rank_without_a_row(eight_cpus, rows, ranks):
    assert Layout("auto", threads=1).size(rows) == (ranks, 1)


def test_auto_takes_the_nodes_with_gpus(cluster):
    """A head without a GPU has no rank, and all nodes have as many as the smallest."""
    cluster(CPU=[4, 64, 64], GPU=[0, 8, 4])
    assert Layout("auto", "auto", cpu=None).size(rows=16) == (8, 2)
    assert not Layout("auto", "auto", cpu=None).on_cpu


def test_auto_takes_cpus_where_no_node_has_a_gpu(cluster):
    """This machine, from which the run is started, may be none of the nodes."""
    cluster(CPU=[1, 1], GPU=[0, 0])
    found = Layout("auto", "auto", cpu=None, threads=1)
    assert found.size(rows=16) == (2, 2)
    assert found.on_cpu


def test_auto_takes_no_node_without_a_row(cluster):
    """Steps of two rows on three nodes leave one out."""
    cluster(GPU=[8, 8, 8])
    assert Layout("auto", "auto", cpu=False).size(rows=2) == (2, 2)


def test_auto_shares_rows_evenly_among_nodes(cluster):
    """Five rows on two nodes: two ranks on each."""
    cluster(CPU=[4, 4], GPU=[8, 8])
    assert Layout("auto", 2, cpu=False).size(rows=5) == (4, 2)


def test_ranks_that_cannot_be_divided_are_refused(cluster):
    """The message names all three numbers."""
    cluster(GPU=[8, 8])
    with pytest.raises(InputError, match="ranks = 6 must be a multiple of nodes = 2 and of copies"):
        Layout(6, 2, copies=4, cpu=False).size(rows=16)


def test_gpus_that_are_not_there_are_told(monkeypatch):
    """Before any work."""
    monkeypatch.setattr(layout.torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"2 ranks need as many GPUs.*this machine has 1"):
        Layout(2, cpu=False).refuse_unready()


@pytest.mark.parametrize(
    ("lora", "bytes_each", "ranks"),
    [(None, 16, 2), (LoraParams(), 4, 2), (LoraParams(quantise="4bit"), 0.5, 1)],
)
def test_what_cannot_fit_is_refused(checkpoint, monkeypatch, lora, bytes_each, ranks):
    """The weights alone are counted, on all ranks together."""
    weights = parameters_of(checkpoint)
    engine, params = TrlEngine(ranks=ranks, threads=1), SFT.model_copy(update={"lora": lora})
    monkeypatch.setattr(layout.machine, "memory", lambda: weights * bytes_each + 1)
    engine.refuse_trainings(checkpoint, [params])
    monkeypatch.setattr(layout.machine, "memory", lambda: weights * bytes_each - 1)
    with pytest.raises(InputError, match=rf"(?s)on each of {ranks} dev.*`sft`.*Train an adapter"):
        engine.refuse_trainings(checkpoint, [params])


def test_ranks_without_a_row_are_refused_before_any_work(checkpoint):
    """Not only when the training begins, hours later; quantised weights are not sharded."""
    params = SFT.model_copy(update={"batch_size": 4, "lora": LoraParams(quantise="4bit")})
    with pytest.raises(InputError, match=r"(?s)1 of 5 ranks would have no row.*quantised"):
        TrlEngine(ranks=5, threads=1).refuse_trainings(checkpoint, [params])


def test_copies_take_more(checkpoint, monkeypatch):
    """Two copies on two ranks are whole."""
    monkeypatch.setattr(layout.machine, "memory", lambda: 20 * parameters_of(checkpoint))
    TrlEngine(ranks=2, threads=1).refuse_trainings(checkpoint, [SFT])
    with pytest.raises(InputError, match="on each of 2 devices"):
        TrlEngine(ranks=2, copies=2, threads=1).refuse_trainings(checkpoint, [SFT])
