"""The engine that asks an OpenAI-compatible server."""

import asyncio
import json
import logging
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import pytest

from srlm_kedro.display.safe_text import redacted
from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.engines.generation.servers.openai import OpenAIEngine
from srlm_kedro.engines.machine import free_port
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.records import Checkpoint
from tests.server import serve

MODEL = Checkpoint(Path("nowhere"), "m1")
REQUESTS = [Request(f"r{i}", f"Tell me {i} things.") for i in range(6)]
SAMPLING = Sampling(n=2, max_new_tokens=40)
KEY = "sk-3f9a-very-secret"


def engine(server, **options) -> OpenAIEngine:
    quick = {"backoff": 0.001, "timeout": 20.0, "retries": 3, "concurrency": 4}
    return OpenAIEngine(server.url, **(quick | options))


def draw(server, requests=REQUESTS, sampling=SAMPLING, seed=0, **options):
    return engine(server, **options).generate(MODEL, requests, sampling, seed)


def undisturbed(**options):
    with serve(ScriptedEngine(), MODEL) as server:
        return draw(server, **options)


# ---- what is asked --------------------------------------------------------------------------


def test_every_knob_reaches_the_server():
    """The body holds the sampling, a seed of 31 bits, the whole chat and the extra fields."""
    request = Request("r", "And now?", history=(("Hello", "Hi"),))
    sampling = Sampling(
        temperature=0.5, top_p=0.8, max_new_tokens=33, min_new_tokens=4, stop=("END",)
    )
    with serve(ScriptedEngine(), MODEL) as server:
        draw(server, [request], sampling, min_tokens=True, extra_body={"top_k": 20})
    body = server.requests[0]
    assert 0 <= body.pop("seed") < 2**31
    assert body == {
        "model": "m1",
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "And now?"},
        ],
        "temperature": 0.5,
        "top_p": 0.8,
        "max_tokens": 33,
        "min_tokens": 4,
        "top_k": 20,
    }


def test_a_stop_string_ends_the_answer_and_no_thought():
    """A server would find it in thoughts too. So a chat gets none, and the answer is cut."""
    sampling = Sampling(max_new_tokens=40, stop=("END",))
    said = "<think>Where is the END? Here.</think>\n\nFour. END of it."
    with serve(lambda messages: said) as server:
        [[chat]] = draw(server, REQUESTS[:1], sampling)
        draw(server, [Request("t", "Task:", chat=False)], sampling)
    assert (chat.text, chat.finish) == ("Four. ", "stop")
    asked, raw = server.requests
    assert "stop" not in asked
    assert raw["stop"] == ["END"]


def test_the_servers_own_names_are_used():
    """`model` and `max_tokens_field` replace the checkpoint's name and the usual field."""
    with serve(ScriptedEngine(), Checkpoint(Path("nowhere"), "judge-large")) as server:
        draw(server, model="judge-large", max_tokens_field="max_completion_tokens")
    assert server.requests[0]["model"] == "judge-large"
    assert server.requests[0]["max_completion_tokens"] == 40
    assert "max_tokens" not in server.requests[0]


def test_raw_text_is_not_put_into_a_chat():
    """Requests without a chat go to /completions as they are."""
    with serve(ScriptedEngine(), MODEL) as server:
        draw(server, [Request("t", "Task:", chat=False)])
    assert set(server.paths) == {"/v1/completions"}
    assert server.requests[0]["prompt"] == "Task:"


def test_each_sample_has_a_call_and_a_seed_of_its_own():
    """n samples are n calls, whose seeds differ and stay when n grows."""
    with serve(ScriptedEngine(), MODEL) as server:
        draw(server, REQUESTS[:1])
        draw(server, REQUESTS[:1], SAMPLING.model_copy(update={"n": 4}))
    seeds = [body["seed"] for body in server.requests]
    assert sorted(Counter(seeds).values()) == [1, 1, 2, 2]
    assert all("n" not in body for body in server.requests)


def test_greedy_text_is_asked_for_once():
    """At temperature 0, the samples of a request are one call."""
    with serve(ScriptedEngine(), MODEL) as server:
        rows = draw(server, sampling=Sampling(n=5, temperature=0, max_new_tokens=40))
    assert len(server.requests) == len(REQUESTS)
    assert all(len(row) == 5 and len(set(row)) == 1 for row in rows)


def test_all_samples_can_come_from_one_call():
    """With `samples_per_call: all` a request is one call, and tokens add up."""
    sampling = Sampling(n=4, max_new_tokens=9)
    with serve(ScriptedEngine(), MODEL) as server:
        rows = draw(server, sampling=sampling, samples_per_call="all")
    assert [body["n"] for body in server.requests] == [4] * len(REQUESTS)
    assert all(len(row) == 4 for row in rows)
    drawn = [completion for row in rows for completion in row]
    assert all(1 <= completion.tokens <= 9 for completion in drawn)
    assert all(completion.tokens == 9 for completion in drawn if completion.finish == "length")


def test_choices_that_a_server_left_out_are_asked_for_again():
    """A server that returns fewer choices than n is asked for the rest, with another seed."""
    with serve(ScriptedEngine(), MODEL, faults=["fewer"]) as server:
        rows = draw(server, REQUESTS[:1], Sampling(n=3), samples_per_call="all")
    assert len(rows[0]) == 3
    assert [body.get("n", 1) for body in server.requests] == [3, 1]
    assert len({body["seed"] for body in server.requests}) == 2


def test_the_shortest_length_needs_a_server_that_knows_it():
    """min_new_tokens is refused unless the engine is told that the server takes it."""
    with (
        serve(ScriptedEngine(), MODEL) as server,
        pytest.raises(InputError, match="min_tokens: true"),
    ):
        draw(server, sampling=Sampling(min_new_tokens=5))
    assert server.requests == []


def test_a_running_event_loop_is_no_hindrance():
    """Sampling works in a notebook, where an event loop runs already."""

    async def cell():
        return undisturbed()

    assert asyncio.run(cell()) == undisturbed()


# ---- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [429, (429, 0.01), 500, 503, "garbage", "odd", "empty", "cut"], ids=str
)
def test_passing_faults_are_asked_again(fault):
    """After temporary faults, the completions are those of a server without faults."""
    with serve(ScriptedEngine(), MODEL, faults=[fault] * 3) as server:
        assert draw(server) == undisturbed()
    assert len(server.requests) == 12 + 3


def test_a_hang_ends_in_a_retry():
    """A server that does not answer in time is asked again."""
    with serve(ScriptedEngine(), MODEL, faults=["hang"]) as server:
        assert draw(server, timeout=0.5) == undisturbed()


def test_the_servers_waiting_time_is_kept(caplog):
    """Retry-After takes precedence over the engine's own back-off."""
    with (
        serve(ScriptedEngine(), MODEL, faults=[(429, 0.25)]) as server,
        caplog.at_level(logging.INFO, "srlm_kedro"),
    ):
        draw(server, REQUESTS[:1], Sampling(), backoff=50.0)
    assert "next try in 0.2 s (1 of 3)" in caplog.text


@pytest.mark.parametrize("fault", [500, 429, "garbage", "hang"], ids=str)
def test_lasting_faults_end_in_a_message(fault):
    """After the last retry the message names server, model, tries and what to do."""
    with (
        serve(ScriptedEngine(), MODEL, faults=lambda number, body: fault) as server,
        pytest.raises(GateError, match=r"model m1: no answer after 2 tries.*raise `retries`"),
    ):
        draw(server, retries=1, timeout=0.3, concurrency=1)
    assert len(server.requests) == 2


def test_nobody_there():
    """The message names a server that is down."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    quick = OpenAIEngine(url, retries=1, backoff=0.001)
    with pytest.raises(GateError, match=rf"model m1: no answer.*{url}/chat/completions: Conn"):
        quick.generate(MODEL, REQUESTS, SAMPLING, 0)


@pytest.mark.parametrize(
    ("options", "requests", "message"),
    [
        (
            {"model": "m7"},
            REQUESTS,
            r"model m7: status 404, The model.*does not exist.*Check base_url",
        ),
        ({}, [Request("t", "x", chat=False)], r"404.*no /completions, set `prompts.chat: true`"),
        ({"extra_body": {"temperature": -1}}, REQUESTS, r"status 400.*Correct the engine's"),
    ],
)
def test_refusals_are_not_repeated(options, requests, message):
    """A call that the server refuses is not repeated; the message says what to correct."""
    with (
        serve(ScriptedEngine(), MODEL, paths=["chat/completions"]) as server,
        pytest.raises(InputError, match=message),
    ):
        draw(server, requests, concurrency=1, **options)
    assert len(server.requests) == 1


def test_the_client_package_is_asked_for(monkeypatch):
    """Without the package `openai`, the message says how to install it."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(InputError, match=r"pip install 'srlm_kedro\[openai\]'"):
        OpenAIEngine("http://127.0.0.1:1/v1")


def test_options_of_another_shape_are_refused_together():
    """The message lists all faults of the entry."""
    with pytest.raises(InputError, match=r"(?s)base_url.*samples_per_call.*concurrency"):
        OpenAIEngine("localhost:8000", samples_per_call="many", concurrency=0)


# ---- money ----------------------------------------------------------------------------------


def test_the_budget_ends_the_run():
    """No call is made after the budget is spent; the message says how much was spent."""
    with serve(ScriptedEngine(), MODEL) as server:
        asking = engine(server, budget=60, concurrency=1)
        with pytest.raises(GateError, match=r"tokens are spent, and `budget` allows 60") as caught:
            asking.generate(MODEL, REQUESTS, SAMPLING, 0)
        calls = len(server.requests)
        assert 0 < calls < 12
        with pytest.raises(GateError):
            asking.generate(MODEL, REQUESTS, SAMPLING, 1)
        assert len(server.requests) == calls
    assert "`journal`" in str(caught.value)


def test_a_rerun_asks_for_what_is_missing_alone(tmp_path):
    """After a failure, a rerun asks nothing twice, and its rows are an undisturbed run's."""
    up = {"to": 5}
    faults = lambda n, body: 500 if n >= up["to"] else None  # noqa: E731
    with serve(ScriptedEngine(), MODEL, faults=faults) as server:
        with pytest.raises(GateError, match=f"kept in {tmp_path}"):
            draw(server, journal=str(tmp_path), retries=0)
        kept = len((tmp_path / "completions.jsonl").read_text().splitlines())
        assert kept == 5
        failed, up["to"] = len(server.requests), 10**9
        assert draw(server, journal=str(tmp_path)) == undisturbed()
        assert len(server.requests) == failed + 12 - kept
        assert draw(server, journal=str(tmp_path)) == undisturbed()
        assert len(server.requests) == failed + 12 - kept


def test_answers_under_way_are_kept_when_another_fails(tmp_path):
    """After a failure the other calls may end: they are paid for."""
    with serve(ScriptedEngine(), MODEL, faults=[None, 400]) as server:
        with pytest.raises(InputError):
            draw(server, journal=str(tmp_path), concurrency=8)
        kept = len((tmp_path / "completions.jsonl").read_text().splitlines())
        assert kept == len(server.requests) - 1


def test_a_full_disk_ends_the_spending(tmp_path):
    """If an answer cannot be kept, no further one is asked for."""
    with serve(ScriptedEngine(), MODEL) as server:
        asking = engine(server, journal=str(tmp_path), concurrency=2)
        asking.generate(MODEL, REQUESTS[:1], Sampling(max_new_tokens=40), 0)
        (tmp_path / "completions.jsonl").unlink()
        (tmp_path / "completions.jsonl").mkdir()
        with pytest.raises(IsADirectoryError):
            asking.generate(MODEL, REQUESTS, SAMPLING, 0)
        assert len(server.requests) <= 1 + 2


def test_the_budget_leaves_answers_in_the_journal(tmp_path):
    """A run with a higher budget continues where the lower one ended."""
    with serve(ScriptedEngine(), MODEL) as server:
        with pytest.raises(GateError, match="kept in"):
            draw(server, journal=str(tmp_path), budget=60)
        assert draw(server, journal=str(tmp_path), budget=10_000) == undisturbed()
        assert len(server.requests) == 12


def test_a_torn_line_is_asked_for_again(tmp_path):
    """A line that a kill cut off is ignored, and the file stays readable."""
    with serve(ScriptedEngine(), MODEL) as server:
        draw(server, journal=str(tmp_path))
        file = tmp_path / "completions.jsonl"
        file.write_bytes(file.read_bytes()[:-20])
        assert draw(server, journal=str(tmp_path)) == undisturbed()
        assert draw(server, journal=str(tmp_path)) == undisturbed()
        assert len(server.requests) == 12 + 1


def test_more_samples_take_the_fewer_from_the_journal(tmp_path):
    """A higher n asks only for the further samples; another seed asks for all."""
    with serve(ScriptedEngine(), MODEL) as server:
        draw(server, journal=str(tmp_path))
        more = SAMPLING.model_copy(update={"n": 3})
        assert draw(server, sampling=more, journal=str(tmp_path)) == undisturbed(sampling=more)
        assert len(server.requests) == 18
        draw(server, seed=1, journal=str(tmp_path))
        assert len(server.requests) == 30


def test_a_model_trained_anew_is_asked_again(tmp_path):
    """The journal distinguishes models of one name by the files in their folder."""
    weights = tmp_path / "m1"
    weights.mkdir()
    model = Checkpoint(weights, "m1")
    with serve(ScriptedEngine(), model) as server:
        asking = engine(server, journal=str(tmp_path / "journal"))
        for content in ("old", "old", "newer"):
            if not weights.joinpath("x").exists() or weights.joinpath("x").read_text() != content:
                weights.joinpath("x").write_text(content)
            asking.generate(model, REQUESTS, SAMPLING, 0)
        assert len(server.requests) == 24


# ---- the key --------------------------------------------------------------------------------


def test_the_key_opens_the_server():
    """The server gets the key of the credentials."""
    with serve(ScriptedEngine(), MODEL, key=KEY) as server:
        assert draw(server, credentials={"api_key": KEY}) == undisturbed()
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_the_environments_key_is_not_sent_to_any_server(monkeypatch):
    """A key in the environment may belong to another server."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serve(ScriptedEngine(), MODEL) as server:
        draw(server)
    assert KEY not in str(server.headers)


@pytest.mark.parametrize("fault", [None, 429, "garbage", "hang", "cut"], ids=str)
def test_the_key_is_never_shown(fault, caplog, tmp_path):
    """It is in no message, cause, log, repr or journal, even if a server repeats it."""
    wrong = KEY if fault else f"{KEY}-wrong"
    faults = [None, *[fault] * 40] if fault else []
    with (
        caplog.at_level(logging.DEBUG),
        serve(ScriptedEngine(), MODEL, faults=faults, key=KEY) as server,
    ):
        asking = engine(
            server,
            credentials={"api_key": wrong},
            journal=str(tmp_path),
            retries=1,
            timeout=0.3,
        )
        with pytest.raises((GateError, InputError)) as caught:
            asking.generate(MODEL, REQUESTS, SAMPLING, 0)
    if not fault:
        assert "Incorrect API key provided: ***" in str(caught.value)
    shown = [str(caught.value), repr(vars(asking)), repr(vars(asking._caller)), caplog.text]
    shown += [repr(caught.value.__cause__), repr(caught.value.__context__)]
    shown += [file.read_text() for file in tmp_path.iterdir()]
    assert KEY not in "".join(shown)


@pytest.mark.parametrize(
    "key", ["k3Y9" * 100, r"a\b" + "'c", "a/b+c=d%e"], ids=["long", "escaped", "url"]
)
def test_no_half_of_the_key_is_shown_either(key):
    """A key can be longer than a quotation of the server, and can be written in several ways."""
    with serve(ScriptedEngine(), key="another") as server, pytest.raises(InputError) as caught:
        draw(server, credentials={"api_key": key})
    assert "Incorrect API key provided: ***" in str(caught.value)
    assert key[:4] not in str(caught.value)
    for spelling in (repr(key), json.dumps(key), quote(key), quote(key, safe="")):
        assert "***" in redacted(f"It is {spelling}.", key)


@pytest.mark.parametrize("credentials", [{"key": KEY}, {"api_key": KEY, "more": 1}, {}])
def test_credentials_of_another_shape_are_refused(credentials):
    """The message shows their names, but not their values."""
    with pytest.raises(InputError, match="credentials are `api_key:") as caught:
        OpenAIEngine("http://127.0.0.1:1/v1", credentials=credentials)
    assert KEY not in str(caught.value)


def test_a_pasted_line_break_is_no_part_of_a_key():
    """Blanks around the key are removed. Within it they are refused, and the key is not shown."""
    with serve(ScriptedEngine(), key="sk-1") as server:
        draw(server, credentials={"api_key": "sk-1\n"})
    with pytest.raises(InputError, match="line break") as refused:
        OpenAIEngine("http://127.0.0.1:1/v1", credentials={"api_key": "sk-1\nsk-2"})
    assert "sk-" not in str(refused.value)


def test_another_server_is_asked_anew(tmp_path):
    """Answers of one server are not used for another server with a model of the same name."""
    for _ in range(2):
        with serve(ScriptedEngine()) as server:
            draw(server, journal=str(tmp_path))
            assert server.requests


def test_an_answer_without_usage_is_paid_once():
    """A server that does not count its tokens is not asked again."""
    odd = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
    from srlm_kedro.engines.generation.servers.replies import read_reply

    failure = read_reply(odd, 1, SAMPLING)
    assert not failure.again
    assert "usage" in failure.reason
    spent = {"usage": {"prompt_tokens": 3, "completion_tokens": 4}, "choices": []}
    assert read_reply(spent, 1, SAMPLING).spent == 7
