"""Training by ranks on two nodes of a cluster, which are two sets of processes on this machine."""

import os
import signal
import time
from types import SimpleNamespace

import pytest

from srlm_kedro.engines import cluster
from srlm_kedro.engines.cluster import connected
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.errors import GateError, InputError
from tests.engines.test_training_ranks import EXAMPLES, ROUNDING, SMALL_SFT, distance

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(scope="module")
def address():
    """Of a cluster of two nodes with a CPU each."""
    from ray.cluster_utils import Cluster

    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    two.add_node(num_cpus=1)
    yield two.address
    ray.shutdown()
    two.shutdown()


def engine(tmp_path, address: str, **options) -> TrlEngine:
    work = str(tmp_path / "work")
    return TrlEngine(device="cpu", threads=1, work_dir=work, address=address, **options)


@pytest.mark.parametrize("copies", [1, 2])
def test_two_nodes_take_the_steps_of_one_process(tmp_path, checkpoint, address, copies):
    """With one copy of the weights over both nodes, and with one on each.

    Their CPUs are free afterwards, so that replicas that sample find room.
    """
    one = engine(tmp_path, address).sft(checkpoint, EXAMPLES, SMALL_SFT, 1)
    two = engine(tmp_path, address, ranks=2, nodes=2, copies=copies)
    found = two.sft(checkpoint, EXAMPLES, SMALL_SFT, 1)
    assert found.log[-1]["loss"] == pytest.approx(one.log[-1]["loss"], rel=1e-4)
    moved = distance(one.checkpoint, checkpoint)
    assert distance(one.checkpoint, found.checkpoint) < ROUNDING * moved
    patience = time.monotonic() + 60
    while connected(address).available_resources().get("CPU") != 2 and time.monotonic() < patience:
        time.sleep(0.1)  # Ray hears of it a little later
    assert connected(address).available_resources().get("CPU") == 2


def test_too_few_nodes_are_told(tmp_path, address):
    """The message says what the cluster has."""
    three = engine(tmp_path, address, ranks=3, nodes=3)
    with pytest.raises(InputError, match=r"has no 3 nodes with 1 CPUs each.*: 1 and 0, 1 and 0\."):
        three.refuse_unready()


def test_devices_that_other_work_holds_are_told(tmp_path, checkpoint, address):
    """After `patience`; nothing is left waiting for them."""
    holder = connected(address).util.placement_group([{"CPU": 1}])
    assert holder.wait(60)
    two = engine(tmp_path, address, ranks=2, nodes=2, patience=2.0)
    with pytest.raises(GateError, match=r"2 nodes with 1 free CPUs each within 2 s.*Other work"):
        two.sft(checkpoint, EXAMPLES, SMALL_SFT, 1)
    connected(address).util.remove_placement_group(holder)


def test_what_a_run_does_when_it_is_told_to_end_stays(address):
    """Ray would replace its handler of SIGTERM by one that exits at once."""
    ray.shutdown()
    before = signal.getsignal(signal.SIGTERM)
    connected(address)
    assert signal.getsignal(signal.SIGTERM) is before


def test_no_cluster_at_the_address(tmp_path):
    """The message says how one is started, and that a head may ask for a token."""
    ray.shutdown()
    lost = engine(tmp_path, "127.0.0.1:1", ranks=2, nodes=2)
    with pytest.raises(InputError, match=r"no cluster of Ray answers at '127.0.0.1:1'.*ray start"):
        lost.refuse_unready()


@pytest.mark.parametrize(
    ("place", "has", "shown"),
    [("head:6379", True, "token"), ("head:6379", False, None), ("auto", True, None)],
)
def test_a_token_is_shown_at_an_address(tmp_path, monkeypatch, place, has, shown):
    """If this machine has one; where Ray finds the cluster, it shows the token by itself."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # restored at the end, also where it was not set
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(cluster, "sys", SimpleNamespace(modules={}))  # Ray is not imported yet
    if has:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray/auth_token").write_text("secret")
    cluster._show_token(place)
    assert os.environ.get("RAY_AUTH_MODE") == shown
