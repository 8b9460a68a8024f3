"""Text of servers, files and models, where it enters and where a refusal quotes it."""

import pytest

from srlm_kedro.engines.generation.base import Completion, Sampling
from srlm_kedro.engines.generation.servers.replies import Failure, failure, read_reply
from srlm_kedro.errors import GateError, InputError
from tests.hostile import HOSTILE, is_harmless


class ServerError(Exception):
    """An error as the client raises it."""

    status_code = 503

    def __init__(self, message, **headers):
        super().__init__(message)
        self.response = type("Response", (), {"headers": headers})()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("refusal", [InputError, GateError])
def test_a_refusal_steers_no_terminal(refusal, text):
    """A refusal may quote anything, and its length is limited."""
    said = str(refusal(f"m2: refused.\n  - {text}"))
    assert said.startswith("m2: refused.\n  - ")
    assert is_harmless(said)
    assert len(said) < 20_000


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_completion_is_text_that_can_be_saved(text):
    """Half a surrogate pair is replaced at once; everything else stays."""
    kept = Completion(text, 1, "stop").text
    assert kept.encode("utf-8").decode("utf-8") == kept
    assert text in (kept, HOSTILE["surrogates"])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_servers_text_becomes_one_harmless_line(text):
    """Logs and messages show them."""
    for error in (ServerError(text), ValueError(text)):
        reason = failure(error, str).reason
        assert is_harmless(reason)
        assert "\n" not in reason
        assert len(reason) < 400


@pytest.mark.parametrize(
    "named", ["inf", "-inf", "nan", "1e999", "soon", "Mon, 01 Jan 0001 00:00:00"]
)
def test_a_server_cannot_ask_for_an_endless_wait(named):
    """A value that is no number of seconds and no date is ignored."""
    wait = failure(ServerError("busy", **{"retry-after": named}), str).wait
    assert wait is None or wait < 1e9


@pytest.mark.parametrize("tokens", [10**400, -1])
def test_an_impossible_count_of_tokens_is_malformed(tokens):
    """The reply is refused before anything is added up."""
    choices = [{"text": "a", "finish_reason": "stop"}] * 2
    usage = {"prompt_tokens": 1, "completion_tokens": tokens}
    said = read_reply({"choices": choices, "usage": usage}, 2, Sampling(n=2))
    assert isinstance(said, Failure)
    assert "malformed" in said.reason
