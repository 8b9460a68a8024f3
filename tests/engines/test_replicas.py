"""Replicas over Ray on this machine: the bits of one engine, also where replicas are killed."""

import os
import signal
from contextlib import suppress
from functools import partial

import pytest

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.replicas.replicas import Replicas
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.errors import InputError

ray = pytest.importorskip("ray")
REQUESTS = [Request(f"r{number}", f"Tell me about number {number}.") for number in range(24)]
SAMPLING = Sampling(n=2, max_new_tokens=8)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two CPUs of this machine."""
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, **quiet)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def build():
    return partial(TransformersEngine, device="cpu", threads=1)


@pytest.fixture(scope="module")
def replicas(build, tmp_path_factory):
    """Two on this machine, which all tests ask, because their start takes longer than the tests."""
    made = Replicas(build, tmp_path_factory.mktemp("replicas") / "probe", count=2, gpus=0)
    yield made
    made.release()


@pytest.fixture
def replicated(build, replicas, tmp_path):
    """An engine whose shards, of 4 requests each, replicas draw."""
    return ShardedEngine(build(), "recipe", tmp_path / "shards", 8, replicas)


def test_replicas_draw_the_bits_of_one_engine(replicated, build, checkpoint):
    """Of the same shards, in whatever order they are drawn."""
    expected = [
        row
        for first in range(0, len(REQUESTS), 4)
        for row in build().generate(checkpoint, REQUESTS[first : first + 4], SAMPLING, 1)
    ]
    assert replicated.generate(checkpoint, REQUESTS, SAMPLING, 1) == expected


def kill_one(replicas: Replicas) -> None:
    """Kills the process of a replica that lives."""
    for actor in list(replicas._pool._workers._actors.values()):
        with suppress(ray.exceptions.RayError):
            os.kill(ray.get(actor.process.remote()), signal.SIGKILL)
            return
    pytest.fail("no replica lives")


def test_killed_replicas_lose_nothing(replicated, replicas, checkpoint, monkeypatch):
    """Their processes are killed while they draw; what is on disk is not drawn again."""
    expected = replicated.generate(checkpoint, REQUESTS, SAMPLING, 1)
    replicated.forget()
    drawn, calls = [], replicas.in_any_order

    def killing(shards, call):
        for place, rows in calls(shards, call):
            drawn.append(place)
            if len(drawn) in (1, 3):
                kill_one(replicas)
            yield place, rows

    monkeypatch.setattr(replicas, "in_any_order", killing)
    assert replicated.generate(checkpoint, REQUESTS, SAMPLING, 1) == expected
    assert sorted(drawn) == list(range(6))
    assert replicas._pool.replaced >= 1
    drawn.clear()
    assert replicated.generate(checkpoint, REQUESTS, SAMPLING, 1) == expected
    assert drawn == []


def test_what_an_engine_refuses_is_refused(replicated, checkpoint):
    """With its own words."""
    with pytest.raises(InputError, match="tokens"):
        replicated.generate(checkpoint, REQUESTS, Sampling(max_new_tokens=100_000), 1)


def test_devices_are_free_after_release(replicated, checkpoint):
    """Training needs them; the next call starts new replicas."""
    first = replicated.generate(checkpoint, REQUESTS[:4], SAMPLING, 1)
    assert ray.available_resources().get("CPU", 0) < 2
    replicated.release()
    for _ in range(100):
        if ray.available_resources().get("CPU") == 2:
            break
        ray.wait([ray.remote(num_cpus=0)(lambda: None).remote()], timeout=0.1)
    assert ray.available_resources()["CPU"] == 2
    replicated.forget()
    assert replicated.generate(checkpoint, REQUESTS[:4], SAMPLING, 1) == first
