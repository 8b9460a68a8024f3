"""What every generation engine guarantees, the real ones and the scripted one.

vLLM itself is tested if `SRLM_VLLM_PYTHON` names an interpreter that has it. Otherwise a stand-in
is served in its place.
"""

import json
import math
import os
import sys
from pathlib import Path

import pytest

from srlm_kedro.engines.generation.base import NO_ROOM, Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.engines.generation.servers.openai import OpenAIEngine
from srlm_kedro.engines.generation.servers.vllm import VllmEngine
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.engines.generation.watching import watched_by
from srlm_kedro.errors import GateError, InputError
from tests.engines.models import write_model
from tests.server import serve

REQUESTS = [
    Request("a", "w1 w2 w3"),
    Request("b", "w4", chat=False),
    Request("c", "w1 w2 w5 w6 w7 w8 w9 w10 w11"),
    Request("d", "w1 w2 w3 w4 Score: w5"),
]
SAMPLING = Sampling(n=3, max_new_tokens=12, temperature=1.0, top_p=0.95)
ALONE = Request("h", "w4 w5")
LATER = Request("h", "w4 w5", history=(("w1 w2", "w3"), ("w6", "w7 w8 w9")))
ENGINES = ["transformers", "scripted", "openai", "openai-scripted", "vllm"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model with heads of 32 numbers: vLLM has no code for narrower ones."""
    folder = tmp_path_factory.mktemp("llama")
    return write_model(folder, hidden_size=128, intermediate_size=128, initializer_range=0.2)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request, checkpoint):
    kind = request.param
    behind = ScriptedEngine() if "scripted" in kind else TransformersEngine(device="cpu")
    if kind == "vllm":
        behind = vllm_engine()
        yield behind
        behind.release()
    elif kind.startswith("openai"):
        with serve(behind, checkpoint) as server:
            yield OpenAIEngine(server.url, min_tokens=True, top_logprobs=40)
    else:
        yield behind


def vllm_engine() -> VllmEngine:
    real = os.environ.get("SRLM_VLLM_PYTHON")
    if real:
        options = json.loads(os.environ.get("SRLM_VLLM_OPTIONS", "{}"))
        return VllmEngine(real, dtype="float32", serve_options=options)
    return VllmEngine(sys.executable, dtype="float32", environment=stand_in())


def stand_in() -> dict[str, str]:
    """The environment in which `import vllm` finds the stand-in."""
    root = Path(__file__).parents[2]
    paths = [root / "tests" / "engines" / "vllm_stand_in", root / "src", root]
    return {"PYTHONPATH": os.pathsep.join(map(str, paths))}


def test_one_row_a_request_in_their_order(engine, checkpoint):
    """Each request gets n completions, at any place among the others."""
    rows = engine.generate(checkpoint, REQUESTS, SAMPLING, seed=0)
    assert [len(row) for row in rows] == [3] * len(REQUESTS)
    assert engine.generate(checkpoint, REQUESTS[::-1], SAMPLING, seed=0) == rows[::-1]
    assert engine.generate(checkpoint, REQUESTS[2:3], SAMPLING, seed=0) == rows[2:3]


def test_no_requests_no_rows(engine, checkpoint):
    """An empty list gives an empty list."""
    assert engine.generate(checkpoint, [], SAMPLING, seed=0) == []


def test_same_seed_same_text(engine, checkpoint):
    """A second call gives the same completions; another seed gives other ones."""
    first = engine.generate(checkpoint, REQUESTS, SAMPLING, seed=1)
    assert engine.generate(checkpoint, REQUESTS, SAMPLING, seed=1) == first
    assert engine.generate(checkpoint, REQUESTS, SAMPLING, seed=2) != first


class Witness:
    """Is told what is drawn, and stops the drawing after so many completions."""

    is_open = True

    def __init__(self, most=1000):
        self.begun, self.ended, self.most = set(), {}, most

    def begin(self, key):
        assert key not in self.ended
        self.begun.add(key)

    def end(self, key, completion):
        assert key not in self.ended
        self.ended[key] = completion
        if len(self.ended) >= self.most:
            raise GateError("enough")


def test_who_watches_sees_every_completion_once_and_changes_none(engine, checkpoint):
    """What is told is what is returned, and it is the same as without a watch."""
    witness = Witness()
    with watched_by(witness):
        rows = engine.generate(checkpoint, REQUESTS, SAMPLING, seed=1)
    assert rows == engine.generate(checkpoint, REQUESTS, SAMPLING, seed=1)
    names = [request.id for request in REQUESTS]
    assert witness.ended == {
        (name, sample): completion
        for name, row in zip(names, rows, strict=True)
        for sample, completion in enumerate(row)
    }
    assert witness.begun <= set(witness.ended)


def test_who_watches_can_stop_the_drawing(engine, checkpoint):
    """The error of the watch ends the call, and the engine works afterwards."""
    witness = Witness(most=2)
    with watched_by(witness), pytest.raises(GateError, match="enough"):
        engine.generate(checkpoint, REQUESTS, SAMPLING, seed=1)
    assert engine.generate(checkpoint, REQUESTS[:1], SAMPLING, seed=1)[0]


def test_samples_of_a_request_differ(engine, checkpoint):
    """Each sample is drawn separately."""
    row = engine.generate(checkpoint, REQUESTS[:1], SAMPLING.model_copy(update={"n": 6}), 0)[0]
    assert len({completion.text for completion in row}) > 1


def test_more_samples_begin_with_the_fewer(engine, checkpoint):
    """Raising n adds samples and keeps those that were there."""
    few = engine.generate(checkpoint, REQUESTS, SAMPLING, seed=0)
    many = engine.generate(checkpoint, REQUESTS, SAMPLING.model_copy(update={"n": 5}), seed=0)
    assert [row[:3] for row in many] == few


def test_release_costs_time_alone(engine, checkpoint):
    """After release() the same call gives the same completions."""
    before = engine.generate(checkpoint, REQUESTS, SAMPLING, seed=3)
    engine.release()
    engine.release()
    assert engine.generate(checkpoint, REQUESTS, SAMPLING, seed=3) == before


def test_earlier_turns_change_the_answer(engine, checkpoint):
    """A turn with a history gets another answer than the same turn without one."""
    rows = engine.generate(checkpoint, [ALONE, LATER], SAMPLING, seed=0)
    assert rows[0] != rows[1]


@pytest.mark.parametrize("engine", ["openai", "vllm"], indirect=True)
def test_engines_render_alike(engine, checkpoint):
    """Greedy text is that of TransformersEngine: for turns, with a history, and for raw text."""
    greedy = SAMPLING.model_copy(update={"temperature": 0.0, "stop": ("w3",)})
    requests = [*REQUESTS, ALONE, LATER]
    reference = TransformersEngine(device="cpu")
    expected = reference.generate(checkpoint, requests, greedy, seed=0)
    found = engine.generate(checkpoint, requests, greedy, seed=0)
    assert _said(found) == _said(expected)


def _said(rows):
    """Texts and how they ended: a server that gets no stop string samples beyond it."""
    return [[(completion.text, completion.finish) for completion in row] for row in rows]


def test_greedy_needs_no_seed(engine, checkpoint):
    """At temperature 0 all samples of a request are one text, whatever the seed."""
    greedy = SAMPLING.model_copy(update={"temperature": 0.0})
    rows = engine.generate(checkpoint, REQUESTS, greedy, seed=0)
    assert rows == engine.generate(checkpoint, REQUESTS, greedy, seed=9)
    assert all(len(set(row)) == 1 for row in rows)


def test_completions_keep_to_their_lengths(engine, checkpoint):
    """No completion is longer than max_new_tokens, and one that runs out of them says so."""
    sampling = SAMPLING.model_copy(update={"max_new_tokens": 4, "n": 8})
    rows = engine.generate(checkpoint, REQUESTS, sampling, seed=0)
    completions = [completion for row in rows for completion in row]
    assert all(1 <= completion.tokens <= 4 for completion in completions)
    assert all(
        completion.tokens == 4 for completion in completions if completion.finish == "length"
    )


def test_the_end_waits_for_the_shortest_length(engine, checkpoint):
    """No completion ends before min_new_tokens."""
    sampling = SAMPLING.model_copy(update={"min_new_tokens": 9, "n": 8})
    rows = engine.generate(checkpoint, REQUESTS, sampling, seed=0)
    assert all(completion.tokens > 9 for row in rows for completion in row)


def test_stop_strings_cut_the_text(engine, checkpoint):
    """The text ends before the first stop string, and the completion counts as stopped."""
    free = engine.generate(checkpoint, REQUESTS, SAMPLING, seed=0)
    words = free[0][0].text.split()
    stop = " ".join(words[1:3])
    stopping = SAMPLING.model_copy(update={"stop": (stop, "never said")})
    stopped = engine.generate(checkpoint, REQUESTS, stopping, seed=0)
    assert stopped[0][0].text == free[0][0].text.split(stop)[0]
    assert stopped[0][0].finish == "stop"
    for row, free_row in zip(stopped, free, strict=True):
        for cut, whole in zip(row, free_row, strict=True):
            assert cut.text == whole.text.split(stop)[0]
            assert cut.tokens <= whole.tokens


def test_requests_that_fit_have_no_fault(engine, checkpoint):
    """Each request gets an empty text, and nothing is sampled."""
    assert engine.length_faults(checkpoint, REQUESTS, SAMPLING) == [""] * len(REQUESTS)


@pytest.mark.parametrize("kind", ["transformers", "scripted", "vllm"])
def test_an_optional_request_without_room_is_answered_with_nothing(kind, checkpoint):
    """The others are sampled as if it were not there; a request that is not optional is refused."""
    engine = _limited(kind)
    long = Request("x", "w1 " * 125, optional=True)
    asked = [REQUESTS[0], long, REQUESTS[1]]
    first, second = engine.generate(checkpoint, REQUESTS[:2], SAMPLING, seed=0)
    rows = engine.generate(checkpoint, asked, SAMPLING, seed=0)
    assert rows == [first, [NO_ROOM] * 3, second]
    faults = engine.length_faults(checkpoint, asked, SAMPLING)
    assert (faults[0], faults[2]) == ("", "")
    assert faults[1].endswith("prompt tokens + 12 new ones > 128")
    with pytest.raises(InputError, match="request y: "):
        engine.generate(checkpoint, [Request("y", long.prompt)], SAMPLING, seed=0)
    engine.release()


YES_NO = (("w1", "w2"), ("w3",))


def test_choices_one_row_a_request_in_their_order(engine, checkpoint):
    """A value is the logarithm of a probability, and depends on its own request only."""
    rows = engine.choice_logprobs(checkpoint, REQUESTS, YES_NO)
    assert [len(row) for row in rows] == [2] * len(REQUESTS)
    assert all(math.exp(one) + math.exp(other) < 1 for one, other in rows)
    assert len({one for one, _ in rows}) == len(REQUESTS)
    backwards = engine.choice_logprobs(checkpoint, REQUESTS[::-1], YES_NO)
    assert _alike(backwards[::-1], rows)
    assert _alike(engine.choice_logprobs(checkpoint, REQUESTS[2:3], YES_NO), rows[2:3])


def test_choices_are_read_again_with_the_same_bits(engine, checkpoint):
    """A release costs only time."""
    before = engine.choice_logprobs(checkpoint, REQUESTS, YES_NO)
    assert engine.choice_logprobs(checkpoint, REQUESTS, YES_NO) == before
    engine.release()
    assert engine.choice_logprobs(checkpoint, REQUESTS, YES_NO) == before


def test_choices_without_requests(engine, checkpoint):
    """An empty list gives an empty list."""
    assert engine.choice_logprobs(checkpoint, [], YES_NO) == []


def test_choices_see_earlier_turns(engine, checkpoint):
    """A turn with a history gets another answer than the same turn without one."""
    alone, later = engine.choice_logprobs(checkpoint, [ALONE, LATER], YES_NO)
    assert alone != later


def test_choices_without_a_spelling_are_refused(engine, checkpoint):
    """The message says which answer has none."""
    with pytest.raises(InputError, match="answer 2 has no spelling"):
        engine.choice_logprobs(checkpoint, REQUESTS, (("w1",), ()))


@pytest.mark.parametrize("engine", ["openai", "vllm"], indirect=True)
def test_engines_read_choices_alike(engine, checkpoint):
    """Values are those of TransformersEngine: for turns, with a history, and for raw text."""
    requests = [*REQUESTS, ALONE, LATER]
    expected = TransformersEngine(device="cpu").choice_logprobs(checkpoint, requests, YES_NO)
    assert _alike(engine.choice_logprobs(checkpoint, requests, YES_NO), expected)


@pytest.mark.parametrize("kind", ["transformers", "scripted", "vllm"])
def test_an_optional_request_without_room_has_no_choice(kind, checkpoint):
    """Its row is NaN, the others are read; a request that is not optional is refused."""
    engine = _limited(kind)
    text = "w1 " * 128
    asked = [REQUESTS[0], Request("x", text, optional=True), REQUESTS[1]]
    first, nothing, second = engine.choice_logprobs(checkpoint, asked, YES_NO)
    assert _alike([first, second], engine.choice_logprobs(checkpoint, REQUESTS[:2], YES_NO))
    assert all(map(math.isnan, nothing))
    with pytest.raises(InputError, match="request y: "):
        engine.choice_logprobs(checkpoint, [Request("y", text)], YES_NO)
    engine.release()


def _limited(kind: str):
    """An engine that takes 128 tokens."""
    engines = {
        "transformers": lambda: TransformersEngine(device="cpu"),
        "scripted": lambda: ScriptedEngine(positions=128),
        "vllm": vllm_engine,
    }
    return engines[kind]()


def _alike(found, expected):
    """Equal but for rounding."""
    pairs = zip(found, expected, strict=True)
    return all(one == pytest.approx(other, abs=1e-4) for one, other in pairs)
