"""Named answers of a server, read from the most probable first tokens that it tells."""

import math

import pytest

from srlm_kedro.engines.generation.base import Request
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.engines.generation.servers.openai import OpenAIEngine
from srlm_kedro.engines.generation.servers.replies import Failure, Reply
from srlm_kedro.engines.generation.servers.top_tokens import choice_row, read_top
from srlm_kedro.errors import GateError, InputError
from tests.server import serve
from tests.unit.fakes import M1

YES_NO = (("Yes", "yes"), ("No", "no"))
REQUESTS = [Request(str(place), f"Is {place} even?", chat=place > 0) for place in range(4)]
USAGE = {"prompt_tokens": 9, "completion_tokens": 1}


def up(*faults, **options):
    return serve(ScriptedEngine(), faults=faults, words=("Yes", "No", "Maybe"), **options)


def engine(server, **options) -> OpenAIEngine:
    return OpenAIEngine(server.url, backoff=0.01, **options)


def expected():
    choices = (("Yes",), ("No",), ("Maybe",))
    return [row[:2] for row in ScriptedEngine().choice_logprobs(M1, REQUESTS, choices)]


def test_one_token_is_asked_for_and_the_most_probable_are_read():
    """Chats and raw texts have fields of their own; each request is one call."""
    with up() as server:
        rows = engine(server, top_logprobs=7).choice_logprobs(M1, REQUESTS, YES_NO)
    assert rows == expected()
    assert sorted(server.paths) == ["/v1/chat/completions"] * 3 + ["/v1/completions"]
    for path, body in zip(server.paths, server.requests, strict=True):
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (1, 1, 1)
        chat = (True, 7) if "chat" in path else (7, None)
        assert (body["logprobs"], body.get("top_logprobs")) == chat


def test_answers_are_kept_whatever_the_spellings(tmp_path):
    """A rerun asks for what is missing; a journal of completions is a file of its own."""
    folder = str(tmp_path / "kept")
    with up(None, None, 400) as server:
        with pytest.raises(InputError, match="status 400"):
            engine(server, journal=folder, concurrency=1).choice_logprobs(M1, REQUESTS, YES_NO)
        again = engine(server, journal=folder)
        assert again.choice_logprobs(M1, REQUESTS, YES_NO) == expected()
        assert len(server.requests) == 3 + 2
        swapped = engine(server, journal=folder).choice_logprobs(M1, REQUESTS, YES_NO[::-1])
        assert swapped == [row[::-1] for row in expected()]
        assert len(server.requests) == 5
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["top_tokens.jsonl"]


def test_calls_that_fail_are_repeated_and_the_budget_holds():
    """They follow the rules of sampling."""
    with up(503, "odd") as server:
        assert engine(server).choice_logprobs(M1, REQUESTS[:1], YES_NO) == expected()[:1]
    with up() as server, pytest.raises(GateError, match="`budget` allows 1"):
        engine(server, budget=1, concurrency=1).choice_logprobs(M1, REQUESTS, YES_NO)


def test_a_server_without_log_probabilities_is_refused():
    """The message says what is missing, and what to do."""
    with (
        serve(lambda messages: "Yes") as server,
        pytest.raises(InputError, match=r"holds no log-probabilities \(`logprobs`\). Take"),
    ):
        engine(server).choice_logprobs(M1, REQUESTS, YES_NO)


def test_spellings_that_differ_only_by_white_space_are_refused():
    """A server's texts would not tell them apart."""
    with up() as server, pytest.raises(InputError, match="'Yes' is a spelling of two answers"):
        engine(server).choice_logprobs(M1, REQUESTS, (("Yes",), (" Yes",)))


def test_tokens_are_added_up_by_their_text():
    """White space and its marks before a word do not count; what is not named counts as 0."""
    top = [("Yes", -1.0), ("\u2581Yes", -2.0), ("\u0120no", -3.0), ("Yesterday", -0.5), (" y", -4)]
    both = math.log(math.exp(-1) + math.exp(-2))
    assert choice_row(top, YES_NO) == pytest.approx([both, -3.0])
    assert choice_row(top[:2], YES_NO) == pytest.approx([both, -math.inf])
    assert choice_row(top[3:], YES_NO) == choice_row([], YES_NO) == [-math.inf, -math.inf]


@pytest.mark.parametrize(
    ("logprobs", "top"),
    [
        ({"content": [{"token": "a", "logprob": -1, "top_logprobs": []}]}, ()),
        ({"content": []}, ()),
        ({"content": None}, ()),
        ({"top_logprobs": [None]}, ()),
        ({"top_logprobs": [{"a": -1.5, "b": -2}]}, (("a", -1.5), ("b", -2.0))),
    ],
)
def test_answers_of_all_shapes_are_read(logprobs, top):
    """An answer that ends at once names no token."""
    reply = read_top({"choices": [{"logprobs": logprobs}], "usage": USAGE})
    assert (reply.top, reply.prompt_tokens, reply.completion_tokens) == (top, 9, 1)


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"choices": [], "usage": USAGE},
        {"choices": [{"logprobs": {"top_logprobs": [{"a": 2.0}]}}], "usage": USAGE},
        {"choices": [{"logprobs": {"top_logprobs": [{"a": math.nan}]}}], "usage": USAGE},
        {"choices": [{"logprobs": {"content": "a"}}], "usage": USAGE},
        {"choices": [{"logprobs": {"content": []}}]},
    ],
)
def test_odd_answers_are_failures(data):
    """None is taken for probabilities."""
    assert isinstance(read_top(data), Failure)
    assert not isinstance(read_top(data), Reply)
