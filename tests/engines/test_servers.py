"""The engine that asks several servers of one model."""

import asyncio
import logging
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.engines.generation.servers import endpoint
from srlm_kedro.engines.generation.servers.openai import OpenAIEngine
from srlm_kedro.engines.generation.servers.replies import Failure, Reply, read_reply
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.engines.machine import free_port
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.llm_judge import LlmJudge
from srlm_kedro.referee.llm_referee import LlmReferee
from tests.server import serve

MODEL = Checkpoint(Path("nowhere"), "m1")
REQUESTS = [Request(f"r{i}", f"Tell me {i} things.") for i in range(6)]
SAMPLING = Sampling(n=2, max_new_tokens=40)
LONG = 1000.0
"""Seconds: a test in which a call waits for so long does not end."""


def engine(*urls: str, **options) -> OpenAIEngine:
    return OpenAIEngine(list(urls), **({"concurrency": 4, "timeout": 20.0} | options))


def draw(*urls: str, sampling=SAMPLING, **options):
    return engine(*urls, **options).generate(MODEL, REQUESTS, sampling, 0)


def up(faults=(), **options):
    return serve(ScriptedEngine(), MODEL, faults, **options)


def always(fault):
    return lambda number, body: fault


@pytest.fixture(scope="module")
def undisturbed():
    """The answers of one server that never fails."""
    with up() as server:
        return draw(server.url)


@pytest.fixture
def nobody():
    """An address without a server."""
    return f"http://127.0.0.1:{free_port()}/v1"


@pytest.fixture
def clock(monkeypatch):
    """The time that endpoints see."""
    time = {"now": 0.0}
    monkeypatch.setattr(endpoint, "monotonic", lambda: time["now"])
    return time


def observed(story, server):
    """What `story` finds out about a server whose first rest takes 10 seconds."""

    async def run():
        asked = endpoint.Endpoint(server.url, 10.0, 20.0, str)
        asked.open("none")
        found = await story(asked)
        await asked.close()
        return found

    return asyncio.run(run())


async def ask(server):
    body = {"model": "m1", "messages": [{"role": "user", "content": "Hello"}]}
    read = partial(read_reply, asked=1, sampling=SAMPLING)
    return await server.ask("/chat/completions", body, read)


# ---- who is asked ---------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 4])
def test_calls_are_spread(concurrency, undisturbed):
    """Both servers are asked, each sample once, and completions do not depend on who answers."""
    with up() as one, up() as two:
        assert draw(one.url, two.url, concurrency=concurrency) == undisturbed
    assert len(one.requests) + len(two.requests) == 12
    assert min(len(one.requests), len(two.requests)) >= (6 if concurrency == 1 else 2)


def test_a_server_that_is_busy_gets_fewer_calls(undisturbed):
    """While one server works on a single call, the other one answers the rest."""
    rest = threading.Event()
    slow_fault = lambda n, body: rest.wait(20) and None  # noqa: E731
    with up(slow_fault) as slow, up(lambda n, body: rest.set() if n == 10 else None) as quick:
        assert draw(slow.url, quick.url, concurrency=2) == undisturbed
    assert (len(slow.requests), len(quick.requests)) == (1, 11)


def test_a_list_of_one_is_one_server(undisturbed):
    with up() as server:
        assert draw(server.url) == undisturbed


# ---- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1])
def test_one_is_dead_from_the_start(place, undisturbed, nobody):
    """The other one answers all calls, without a wait and without retries."""
    with up() as server:
        urls = [server.url]
        urls.insert(place, nobody)
        assert draw(*urls, retries=0, backoff=LONG) == undisturbed
    assert len(server.requests) == 12


def test_one_dies_half_way(undisturbed):
    """Its calls are repeated at the other one."""
    with ExitStack() as life, up() as other:
        dying = life.enter_context(up(lambda n, body: life.close() if n == 2 else None))
        assert draw(dying.url, other.url, backoff=LONG) == undisturbed
    assert len(dying.requests) >= 3
    assert len(other.requests) >= 12 - len(dying.requests)


@pytest.mark.parametrize(
    "fault", [429, (429, 0), (429, LONG), 500, "garbage", "odd", "cut"], ids=str
)
def test_a_fault_sends_a_call_elsewhere_at_once(fault, undisturbed):
    """A server that always fails gets the first calls, and then none for a while."""
    with up(always(fault)) as bad, up() as good:
        asking = engine(bad.url, good.url, backoff=LONG)
        assert asking.generate(MODEL, REQUESTS, SAMPLING, 0) == undisturbed
        assert asking.generate(MODEL, REQUESTS, SAMPLING, 0) == undisturbed
    assert 1 <= len(bad.requests) <= 4
    assert len(good.requests) == 24


def test_a_hang_sends_a_call_elsewhere(undisturbed):
    with up(always("hang")) as bad, up() as good:
        assert draw(bad.url, good.url, timeout=1.0) == undisturbed
    assert bad.requests


def test_a_refusal_ends_calls_that_go_on_at_once():
    """After one call has failed for good, other calls are not tried again."""
    faults = lambda number, body: 400 if number == 3 else (429, 0)  # noqa: E731
    with up(faults) as server, pytest.raises(InputError, match="status 400"):
        draw(server.url, retries=300, concurrency=2)
    assert len(server.requests) < 10


def test_a_server_that_is_well_again_is_asked_again(undisturbed):
    """After its rest, a server gets calls as before."""
    with up([500]) as one, up() as two:
        assert draw(one.url, two.url, backoff=0.001, concurrency=1) == undisturbed
    assert len(one.requests) >= 3


def test_one_call_sees_whether_a_server_is_well_again(clock):
    """After the rest a server gets one call; after an answer it gets all calls."""

    async def story(server):
        assert isinstance(await ask(server), Failure)
        clock["now"] += 10.0
        rests = [server.rest]
        for _ in range(2):
            call = asyncio.create_task(ask(server))
            await asyncio.sleep(0)
            rests.append(server.rest)
            assert isinstance(await call, Reply)
        return rests

    with up([500]) as one:
        assert observed(story, one) == [0.0, 10.0, 0.0]


def test_rests_double_up_to_a_minute(clock):
    """Each failure after a rest doubles the next rest; failures at the same time count once."""

    async def story(server):
        rests = []
        for _ in range(4):
            await asyncio.gather(*(ask(server) for _ in range(3)))
            rests.append(server.rest)
            clock["now"] += server.rest
        return rests

    with up(always(500)) as one:
        assert observed(story, one) == [10.0, 20.0, 40.0, 60.0]


def test_a_fault_after_an_answer_in_a_rest_is_a_first_one(clock):
    """An answer during a rest does not end it, but the next failure counts as a first one."""

    async def story(server):
        rests = []
        for _ in range(5):
            await ask(server)
            rests.append(server.rest)
            clock["now"] += 1.0
        return rests

    with up([500, None, 500, (429, 7), 500]) as one:
        assert observed(story, one) == [10.0, 9.0, 10.0, 7.0, 7.0]


def test_all_are_dead(nobody):
    """After a try at each server and the retries, the message names each and its last outcome."""
    with (
        up(always(503)) as bad,
        pytest.raises(GateError, match="model m1: no answer after 4 tries") as caught,
    ):
        draw(nobody, bad.url, retries=2, backoff=0.001, concurrency=1)
    assert f"{nobody}/chat/completions: Connection error" in str(caught.value)
    assert f"{bad.url}/chat/completions: status 503, told to fail" in str(caught.value)
    assert "raise `retries`" in str(caught.value)


def test_the_server_that_refuses_is_named():
    """A call that one server refuses is not tried at another."""
    other = Checkpoint(Path("nowhere"), "m7")
    with up() as good, serve(ScriptedEngine(), other) as bad:
        with pytest.raises(InputError, match=rf"{bad.url}/chat/completions, model m1: status 404"):
            draw(good.url, bad.url, concurrency=1)
        assert len(bad.requests) == 1


def test_servers_without_a_scheme_are_refused_together():
    """The message lists each wrong address, and each that is named twice."""
    with pytest.raises(InputError, match=r"(?s)once.*'a:1'.*None") as caught:
        engine("a:1", None, "http://b/v1", "http://b/v1")
    assert "'http://b/v1'" not in str(caught.value)
    with pytest.raises(InputError, match="names at least one server"):
        engine()


# ---- what they share ------------------------------------------------------------------------


def test_one_budget_over_all():
    """The budget counts the tokens of all servers."""
    with up() as one, up() as two:
        with pytest.raises(GateError, match="`budget` allows 60") as caught:
            draw(one.url, two.url, budget=60, concurrency=1)
        both = len(one.requests) + len(two.requests)
        with up() as alone, pytest.raises(GateError, match="`budget` allows 60"):
            draw(alone.url, budget=60, concurrency=1)
    assert both == len(alone.requests)
    assert one.url in str(caught.value)
    assert two.url in str(caught.value)


def test_one_key_for_all(undisturbed):
    with up(key="sk-1") as one, up(key="sk-1") as two:
        assert draw(one.url, two.url, credentials={"api_key": "sk-1"}) == undisturbed
    shown = {headers["authorization"] for headers in [*one.headers, *two.headers]}
    assert shown == {"Bearer sk-1"}


def test_the_key_is_shown_for_no_server(caplog):
    """All servers repeat the key, and neither the message nor the log shows it."""
    with (
        caplog.at_level(logging.INFO, "srlm_kedro"),
        up(always(500)) as one,
        up(always(429)) as two,
        pytest.raises(
            GateError, match=r"500, told to fail for \*\*\*.*429, .* for \*\*\*"
        ) as caught,
    ):
        draw(one.url, two.url, credentials={"api_key": "sk-1"}, retries=0, backoff=0.001)
    assert "sk-1" not in str(caught.value) + caplog.text


def test_a_server_more_loses_nothing(tmp_path, undisturbed):
    """Answers of one server stay in the journal if another is added after it."""
    journal = str(tmp_path)
    with up() as one, up() as two:
        alone = OpenAIEngine(one.url, journal=journal)
        assert alone.generate(MODEL, REQUESTS, SAMPLING, 0) == undisturbed
        assert draw(one.url, two.url, journal=journal) == undisturbed
        assert (len(one.requests), len(two.requests)) == (12, 0)
        more = SAMPLING.model_copy(update={"n": 3})
        rows = draw(one.url, two.url, journal=journal, sampling=more)
        assert [row[:2] for row in rows] == undisturbed
        assert len(one.requests) + len(two.requests) == 18


def test_a_server_that_nobody_runs_is_known_before_any_work(nobody):
    """The message names the address. Of several servers, one that answers is enough."""
    with pytest.raises(InputError, match=rf"no server answers .{nobody}: .*Start it, or correct"):
        engine(nobody).refuse_unready()
    with up(key="sk-other") as server:
        engine(nobody, server.url).refuse_unready()
        assert server.requests == []  # nothing was asked that costs


@pytest.mark.parametrize(
    "wrap",
    [
        lambda one, folder: ShardedEngine(one, {}, folder),
        lambda one, folder: LlmJudge(one),
        lambda one, folder: LlmReferee(one, "{prompt} {first} {second} [[A]] [[B]] [[C]]"),
    ],
    ids=["shards", "judge", "referee"],
)
def test_who_asks_through_an_engine_looks_too(wrap, nobody, tmp_path):
    """Shards, a benchmark's judge and the referee check their server too."""
    with pytest.raises(InputError, match="no server answers"):
        wrap(engine(nobody), tmp_path).refuse_unready()
