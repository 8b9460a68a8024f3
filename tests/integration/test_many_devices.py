"""`--env=one_node` and `--env=cluster`: the loop's tables are those of one process."""

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from srlm_kedro.errors import InputError

ray = pytest.importorskip("ray")
TABLES = ("prompts", "responses", "judgements", "judged_responses", "pairs")


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of two nodes with two CPUs each, which `auto` finds."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def this_machine():
    """Whatever a run starts on this machine ends with the test."""
    yield
    ray.shutdown()


def tables(data) -> dict[str, pd.DataFrame]:
    """What M2's pairs were made from, by the name of the table."""
    files = {file.stem: file for file in data.rglob("m2/*.parquet")}
    return {name: pd.read_parquet(files[name]) for name in TABLES}


def assert_same_tables(project, iteration) -> None:
    expected = tables(iteration)
    for name, found in tables(project.path / "data").items():
        assert_frame_equal(found, expected[name])


def test_one_node(project, foundation, iteration, this_machine):
    """Nothing of M1 is made again, and no cluster is needed."""
    project.take(foundation)
    project.run("iteration", env="test+one_node")
    assert_same_tables(project, iteration)
    assert not ray.is_initialized()


def test_cluster(project, foundation, iteration, two_nodes, capsys):
    """A replica on each node of a cluster that runs already; it runs on afterwards."""
    project.take(foundation)
    project.run("iteration", env="test+cluster")
    assert_same_tables(project, iteration)
    assert not ray.is_initialized()
    ray.init(two_nodes.address, log_to_driver=False)
    assert ray.available_resources()["CPU"] == 4
    ray.shutdown()
    project.run("status", env="test+cluster")
    assert "The cluster: 2 nodes with no GPUs." in capsys.readouterr().out


def test_no_cluster(project, foundation, monkeypatch, capsys):
    """The message says how one is started; nothing has been drawn."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    project.take(foundation)
    with pytest.raises(InputError, match=r"(?s)no cluster of Ray answers.*ray start --head"):
        project.run("iteration", env="test+cluster")
    assert not list((project.path / "data").rglob("m2/responses*"))
    project.run("status", env="test+cluster")
    assert "The cluster: no cluster of Ray answers" in capsys.readouterr().out
