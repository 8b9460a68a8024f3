"""The package `alpaca_eval` against a server on this machine; only the remote model is made up."""

import json
import logging
import math
import os
import socket
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.engines.machine import free_port
from srlm_kedro.engines.published.alpaca_eval import AlpacaEvalAnnotator
from srlm_kedro.engines.published.alpaca_eval_package import load
from srlm_kedro.engines.published.base import COLUMNS
from srlm_kedro.errors import GateError, InputError
from tests.server import serve

# Not importorskip: the bare package does not import beside a recent setuptools.
pytestmark = pytest.mark.skipif(
    find_spec("alpaca_eval") is None, reason="alpaca_eval comes with the extra alpaca-eval"
)

KEY = "sk-far-away"
REFERENCE = {
    "Name a colour.": "Red.",
    "Name a fruit.": "An apple, for example.",
    "Count to three.": "One, two, three.",
    "Say hello.": "Hello!",
    "Name a river.": "The Rhine is a river in Europe.",
    "Name a planet.": "Mars.",
}
OWN = {
    "Name a colour.": "Blue is a colour.",
    "Name a fruit.": "A pear.",
    "Count to three.": "1, 2, 3 and no more.",
    "Say hello.": "Hello!",
    "Name a river.": "The Danube.",
    "Name a planet.": "Venus, or Saturn with its rings.",
}
WINS = {
    "Name a colour.": 0.9,
    "Name a fruit.": 0.2,
    "Count to three.": 0.5,
    "Name a river.": 0.25,
    "Name a planet.": 0.75,
}
"""How likely the far model says that the model's output is better; equal ones are not asked."""


def told(outputs, generator):
    rows = [{"instruction": ask, "output": text} for ask, text in outputs.items()]
    return pd.DataFrame(rows).assign(generator=generator, dataset="own")


def probability_of_first(messages):
    """The probability, by `WINS`, that the output shown first (called m) is better."""
    asked = messages[-1]["content"]
    instruction = next(ask for ask in REFERENCE if ask in asked)
    own, other = asked.index(OWN[instruction]), asked.index(REFERENCE[instruction])
    return WINS[instruction] if own < other else 1 - WINS[instruction]


def ranking(messages):
    """The text that a config without log probabilities expects."""
    first = probability_of_first(messages) > 0.5
    ranks = {"model_1": 1 if first else 2, "model_2": 2 if first else 1}
    return str([{"model": name, "rank": rank} for name, rank in ranks.items()])


@contextmanager
def weighing(probability=probability_of_first):
    """A chat server that answers with one token and its log probabilities."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((body, self.headers["Authorization"], self.path))
            answer = json.dumps(reply(probability(body["messages"]))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
        server.shutdown()


def reply(first):
    """A chat completion. `first` is the probability of m; None gives only other tokens."""
    chances = {"?": 1.0} if first is None else {"m": first, "M": 1 - first}
    likely = [{"token": t, "logprob": math.log(p), "bytes": None} for t, p in chances.items()]
    token = max(likely, key=lambda one: one["logprob"])
    choice = {
        "index": 0,
        "finish_reason": "length",
        "message": {"role": "assistant", "content": token["token"]},
        "logprobs": {"content": [token | {"top_logprobs": likely}]},
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
    kind = {"id": "a", "object": "chat.completion", "created": 0, "model": "far"}
    return kind | {"choices": [choice], "usage": usage}


def annotator(url, folder, **options):
    credentials = {"api_key": KEY}
    return AlpacaEvalAnnotator(url, str(folder), model="far", credentials=credentials, **options)


def annotate(url, folder, **options):
    return annotator(url, folder, **options).annotate(told(OWN, "m1"), told(REFERENCE, "base"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Only the name of this machine can be looked up."""
    look_up = socket.getaddrinfo

    def guarded(host, *args, **kwargs):
        assert host == "127.0.0.1", f"something asks for {host}"
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


def test_preferences_are_the_far_models_probabilities(tmp_path):
    """This holds whichever output is shown first. Equal outputs are a tie, and nobody is asked."""
    with weighing() as (url, seen):
        table = annotate(url, tmp_path)
    assert table.columns.tolist()[: len(COLUMNS)] == COLUMNS
    assert table["instruction"].tolist() == list(REFERENCE)
    expected = [1.9, 1.2, 1.5, 1.5, 1.25, 1.75]
    assert table["preference"].tolist() == pytest.approx(expected)
    assert 100 * (table["preference"] - 1).mean() == pytest.approx(51.6667, abs=1e-4)
    firsts = [body["messages"][-1]["content"].partition('"M"')[0] for body, _, _ in seen]
    assert {any(own in first for own in OWN.values()) for first in firsts} == {True, False}
    assert set(table["generator_2"]) == {"m1"}
    assert json.loads(table["raw_completion"][0])["message"]["content"] in "mM"


def test_the_win_rate_is_the_packages_own(tmp_path):
    """The stage and `get_winrate` count the same, failures and ties included."""
    with weighing() as (url, _):
        table = annotate(url, tmp_path)
    table.loc[1, "preference"] = None
    theirs = load("metrics").get_winrate(table)
    wins = 100 * (table["preference"].dropna() - 1)
    assert wins.mean() == pytest.approx(theirs["win_rate"])
    assert wins.sem() == pytest.approx(theirs["standard_error"])
    assert len(wins) == theirs["n_total"]


def test_the_table_survives_parquet(tmp_path):
    """No value is nested, and none is lost."""
    with weighing() as (url, _):
        table = annotate(url, tmp_path)
    table.to_parquet(tmp_path / "annotations.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "annotations.parquet"), table)


def test_the_request_is_alpaca_evals_on_the_given_server(tmp_path):
    """It asks the named model for one token with log probabilities. The header has the key."""
    with weighing() as (url, seen):
        annotate(url, tmp_path)
    body, key, path = seen[0]
    assert path == "/v1/chat/completions"
    assert key == f"Bearer {KEY}"
    asked = {name: body[name] for name in ("model", "max_tokens", "logprobs", "top_logprobs")}
    assert asked == {"model": "far", "max_tokens": 1, "logprobs": True, "top_logprobs": 5}
    assert body["messages"][0]["role"] == "system"


def test_nothing_is_asked_twice_but_what_failed(tmp_path):
    """A second run asks only for the instructions without a preference."""
    mute = {"Name a fruit."}

    def sometimes(messages):
        silent = any(ask in messages[-1]["content"] for ask in mute)
        return None if silent else probability_of_first(messages)

    with weighing(sometimes) as (url, seen):
        first = annotate(url, tmp_path)
        assert first["preference"].isna().tolist() == [False, True, False, False, False, False]
        assert len(seen) == 5
        again = annotate(url, tmp_path)
        assert len(seen) == 6
        assert again["preference"].isna().sum() == 1
        mute.clear()
        healed = annotate(url, tmp_path)
        assert (len(seen), healed["preference"][1]) == (7, pytest.approx(1.2))
        annotate(url, tmp_path)
        assert len(seen) == 7


def test_answers_are_kept_for_this_model_and_seed_alone(tmp_path):
    """Another seed or server asks again."""
    with weighing() as (url, seen):
        annotate(url, tmp_path)
        annotate(url, tmp_path, seed=1)
    assert len(seen) == 10
    assert len(list(tmp_path.iterdir())) == 2


def test_half_a_file_of_answers_never_takes_the_place_of_a_whole_one(tmp_path, monkeypatch):
    """After a kill during writing, the earlier file is still there."""
    longer = told({ask: f"{text} Indeed." for ask, text in OWN.items()}, "m2")
    with weighing(lambda _: 0.5) as (url, _):
        annotate(url, tmp_path)
        [answers] = tmp_path.iterdir()
        kept = answers.read_text()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", lambda *_: pytest.fail("killed"))
            with pytest.raises(pytest.fail.Exception):
                annotator(url, tmp_path).annotate(longer, told(REFERENCE, "base"))
        assert answers.read_text() == kept
        annotator(url, tmp_path).annotate(longer, told(REFERENCE, "base"))
        assert len(answers.read_text()) > len(kept)


def test_a_config_without_log_probabilities_reads_plain_text(tmp_path):
    """`alpaca_eval_gpt4` reads whole preferences, 1 or 2, from a ranking."""
    with serve(ranking) as server:
        table = annotate(server.url, tmp_path, annotators_config="alpaca_eval_gpt4")
    better = {ask: own > 0.5 for ask, own in WINS.items() if own != 0.5}
    said = table.set_index("instruction")["preference"]
    assert {ask: said[ask] == 2 for ask in better} == better
    assert said["Say hello."] == 1.5


def test_a_server_without_log_probabilities_gives_no_preferences(tmp_path):
    """They are missing, not guessed. The remote model's text is kept."""
    with serve(lambda messages: "m") as server:
        table = annotate(server.url, tmp_path)
    asked = table[table["instruction"] != "Say hello."]
    assert asked["preference"].isna().all()
    assert asked["raw_completion"].str.contains('"content": "m"').all()


def test_a_config_of_ones_own_is_a_folder(tmp_path):
    """It holds its own prompt, with a path relative to the folder above."""
    own = tmp_path / "mine"
    own.mkdir()
    (own / "prompt.txt").write_text(
        "<|im_start|>user\n{instruction} 1: {output_1} 2: {output_2}\n<|im_end|>"
    )
    (own / "configs.yaml").write_text(
        "mine:\n  prompt_template: mine/prompt.txt\n  fn_completions: openai_completions\n"
        "  completions_kwargs: {model_name: any, max_tokens: 4}\n"
        "  fn_completion_parser: regex_parser\n"
        "  completion_parser_kwargs: {outputs_to_match: {1: first, 2: second}}\n"
    )
    with serve(lambda messages: "the second") as server:
        table = annotate(server.url, tmp_path / "kept", annotators_config=str(own))
        assert server.requests[0]["messages"][0]["content"].endswith((".", "!"))
    assert set(table["preference"]) == {1, 1.5, 2}
    assert set(table["annotator"]) == {"mine"}


def test_the_process_is_left_as_it_was(tmp_path):
    """Environment, root logger, scikit-learn's settings, modules and the package are as before."""
    sklearn = load("metrics.glm_winrate").sklearn
    home = Path(load("constants").CURRENT_DIR)
    before = state(sklearn, home)
    with weighing() as (url, _):
        table = annotate(url, tmp_path)
        annotator(url, tmp_path).control_length(table, pd.DataFrame())
    assert state(sklearn, home) == before
    assert "pkg_resources" not in sys.modules or find_spec("pkg_resources") is not None


def state(sklearn, home):
    files = {path for path in home.rglob("*") if path.suffix != ".pyc"}
    root = logging.getLogger()
    return dict(os.environ), root.level, list(root.filters), sklearn.get_config(), files


def test_the_key_is_nowhere_but_in_the_header(tmp_path, caplog):
    """It is neither in the kept files nor in the log."""
    caplog.set_level(logging.DEBUG)
    with weighing() as (url, _):
        table = annotate(url, tmp_path)
    assert KEY not in caplog.text
    assert all(KEY not in file.read_text() for file in tmp_path.rglob("*.json"))
    assert KEY not in table.to_csv()


def test_a_refused_key_is_not_repeated(tmp_path, caplog):
    """The message does not contain the key, even if a server repeats it."""
    caplog.set_level(logging.INFO)
    with serve(ranking, key="another") as server, pytest.raises(InputError) as refusal:
        annotate(server.url, tmp_path)
    assert "AuthenticationError" in str(refusal.value)
    assert "credentials" in str(refusal.value)
    assert KEY not in str(refusal.value) + caplog.text


@pytest.mark.parametrize("fault", [500, "garbage", "odd", "cut", "empty"])
def test_a_server_that_fails_stops_the_run_with_what_is_kept(tmp_path, fault):
    """The message names the server and the folder of the answers."""
    with serve(ranking, faults=lambda *_: fault) as server, pytest.raises(GateError) as stop:
        annotate(server.url, tmp_path, annotators_config="alpaca_eval_gpt4", retries=0)
    assert server.url in str(stop.value)
    assert str(tmp_path) in str(stop.value)


def test_a_request_that_fails_once_is_made_again(tmp_path):
    """The client gets the number of retries."""
    with serve(ranking, faults=[500]) as server:
        table = annotate(server.url, tmp_path, annotators_config="alpaca_eval_gpt4", retries=1)
        assert len(server.requests) == 6
    assert table["preference"].notna().all()


def test_a_request_that_is_refused_is_an_error_of_the_input(tmp_path):
    """Here the server does not know the model."""
    with serve(ranking, faults=lambda *_: 404) as server, pytest.raises(InputError, match="model"):
        annotate(server.url, tmp_path, annotators_config="alpaca_eval_gpt4")


def test_an_unknown_config_is_refused(tmp_path):
    """The message names the folder of the configs that exist."""
    with pytest.raises(InputError, match=r"no_such is no annotators config .*evaluators_configs"):
        annotate("http://127.0.0.1:1/v1", tmp_path, annotators_config="no_such")


def test_a_config_that_asks_elsewhere_is_refused(tmp_path):
    """Only the named server may be called."""
    with pytest.raises(InputError, match="claude asks through anthropic_completions, not"):
        annotate("http://127.0.0.1:1/v1", tmp_path, annotators_config="claude")


def test_a_missing_package_names_the_extra(monkeypatch):
    """The message says what to install, or what to choose instead."""
    for name in [name for name in sys.modules if name.split(".")[0] == "alpaca_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "alpaca_eval", None)
    with pytest.raises(InputError, match=r"pip install srlm_kedro\[alpaca-eval\]"):
        load("annotators")


def test_a_server_that_nobody_runs_is_known_before_any_work(tmp_path):
    """The message has no key. A server that answers gets no request that costs money."""
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(InputError, match=f"no server answers at {nobody} ") as refusal:
        AlpacaEvalAnnotator(nobody, str(tmp_path), credentials={"api_key": KEY}).refuse_unready()
    assert KEY not in str(refusal.value)
    with serve(lambda messages: "[]") as server:
        AlpacaEvalAnnotator(server.url, str(tmp_path)).refuse_unready()
        assert server.requests == []
