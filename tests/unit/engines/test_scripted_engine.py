"""The engine that makes up its text."""

import math
from collections import Counter
from pathlib import Path

import pytest

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint

MODEL = Checkpoint(Path("nowhere"), "m1")
JUDGING = [Request(f"j{i}", f"Review answer {i}. Conclude with Score: n") for i in range(200)]
WRITING = [Request(f"t{i}", "Task: Sing.\nTask:", chat=False) for i in range(200)]


def texts(engine: ScriptedEngine, requests, **sampling) -> list[list[str]]:
    rows = engine.generate(MODEL, requests, Sampling(**sampling), seed=0)
    return [[completion.text for completion in row] for row in rows]


def scores(rows: list[list[str]]) -> list[list[str]]:
    return [[text.rpartition("Score: ")[2] for text in row] for row in rows]


def test_judgements_end_in_a_score_and_use_the_whole_scale():
    """Every score from 0 to 5 occurs, and none for most requests."""
    counts = Counter(score for row in scores(texts(ScriptedEngine(), JUDGING)) for score in row)
    assert set(counts) == set("012345")
    assert max(counts.values()) < 100


def test_judgements_of_one_response_agree_roughly():
    """Scores of one prompt differ by two at most, so that rewards rank the responses."""
    for row in scores(texts(ScriptedEngine(), JUDGING, n=5)):
        assert max(map(int, row)) - min(map(int, row)) <= 2


def test_a_constant_score_saturates():
    """`score` makes a judge that always gives one score."""
    rows = scores(texts(ScriptedEngine(score=4), JUDGING, n=2))
    assert {score for row in rows for score in row} == {"4"}


def test_a_share_of_judgements_has_no_score():
    """`unparsed` makes judgements that break the format."""
    found = [row[0] for row in texts(ScriptedEngine(unparsed=0.5), JUDGING)]
    assert 60 < sum("Score:" not in text for text in found) < 140


def test_written_tasks_are_new_and_long_enough():
    """Raw text is continued by tasks of at least five words, and few tasks occur twice."""
    found = [row[0] for row in texts(ScriptedEngine(), WRITING)]
    assert all(len(text.split()) >= 5 for text in found)
    assert len(set(found)) > 150


def test_a_share_of_written_tasks_repeats():
    """`repeated` makes tasks that the novelty filter drops."""
    found = Counter(row[0] for row in texts(ScriptedEngine(repeated=0.5), WRITING))
    assert found.most_common(1)[0][1] > 60


def test_a_share_of_completions_breaks_off():
    """`unfinished` makes completions that ran out of tokens."""
    rows = ScriptedEngine(unfinished=0.5).generate(MODEL, WRITING, Sampling(), 0)
    assert 60 < sum(row[0].finish == "length" for row in rows) < 140


def test_other_requests_get_sentences():
    """An ordinary turn is answered in whole sentences."""
    row = texts(ScriptedEngine(), [Request("p", "Say hello.")], n=4)[0]
    assert all(text.endswith(".") for text in row)


def test_shares_outside_0_to_1_are_refused():
    """The message names a mistyped share."""
    with pytest.raises(InputError, match=r"unparsed = 40"):
        ScriptedEngine(unparsed=40)


def test_a_share_of_answers_is_empty():
    """`empty` changes no judgement, no new task and no other answer."""
    asking = [Request(f"a{i}", "Sing.") for i in range(200)]
    full, silent = ScriptedEngine(), ScriptedEngine(empty=0.5)
    pairs = list(zip(texts(full, asking), texts(silent, asking), strict=True))
    assert 60 < sum(said == [""] for _, said in pairs) < 140
    assert all(said in ([""], before) for before, said in pairs)
    for requests in (JUDGING, WRITING):
        assert texts(silent, requests) == texts(full, requests)


YES_NO = (("Yes", "yes"), ("No", "no"))


def shares(engine: ScriptedEngine) -> list[list[float]]:
    return [[math.exp(value) for value in row] for row in engine.choice_logprobs(*ASKED)]


ASKED = (MODEL, JUDGING, YES_NO)


def test_named_answers_use_the_whole_scale():
    """The first has any probability, the same in each call; the others share the rest."""
    rows = shares(ScriptedEngine())
    assert rows == shares(ScriptedEngine())
    yes = [row[0] for row in rows]
    assert min(yes) < 0.1 < 0.9 < max(yes)
    assert all(sum(row) == pytest.approx(0.99) for row in rows)
    three = ScriptedEngine().choice_logprobs(MODEL, JUDGING[:1], (*YES_NO, ("Maybe",)))[0]
    assert [math.exp(value) for value in three] == pytest.approx(
        [rows[0][0], *[(0.99 - rows[0][0]) / 2] * 2]
    )


def test_the_first_named_answer_can_be_given():
    """A certain answer leaves nothing for the other."""
    assert shares(ScriptedEngine(first_choice=0.25))[0] == pytest.approx([0.2475, 0.7425])
    assert ScriptedEngine(first_choice=1.0).choice_logprobs(*ASKED)[0][1] == -math.inf
    with pytest.raises(InputError, match=r"first_choice = 1\.5"):
        ScriptedEngine(first_choice=1.5)


def test_some_requests_get_neither_answer():
    """The unparsed share of the requests makes all named answers improbable."""
    rows = shares(ScriptedEngine(unparsed=0.3))
    assert 40 < sum(sum(row) < 0.01 for row in rows) < 80
