"""A language model as judge and as referee."""

from pathlib import Path

import pytest

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.engines.generation.scripted import ScriptedEngine
from srlm_kedro.errors import InputError
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.verdict import parse_verdict
from srlm_kedro.referee.base import ComparingReferee, Comparison
from srlm_kedro.referee.llm_judge import LlmJudge
from srlm_kedro.referee.llm_referee import LlmReferee

from ..fakes import FakeEngine

PROMPTS = Path(__file__).parents[3] / "conf/base/prompts"
COMPARE = "Asked: {prompt}\nA: {first}\nB: {second}\nSay [[A]], [[B]] or [[C]]."
JUDGE = "Review {instruction} and {response}, then conclude with Score:"


class Echo(FakeEngine):
    """Answers with the prompt, and remembers it."""

    def __init__(self):
        super().__init__(lambda request, sample: request.prompt)


def test_equal_prompts_are_asked_once():
    """Each prompt is paid for once, and every request gets the answer."""
    engine = Echo()
    said = LlmJudge(engine).ask(["a", "b", "a"])
    assert [one.text for one in said] == ["a", "b", "a"]
    assert [request.prompt for request in engine.requests] == ["a", "b"]


def test_an_answer_does_not_hang_on_its_neighbours():
    """A prompt's request has the same id in every batch, and the id decides the draws."""
    alone, beside = Echo(), Echo()
    LlmJudge(alone).ask(["b"])
    LlmJudge(beside).ask(["a", "b"])
    assert alone.requests[0] == beside.requests[1]
    assert len({request.id for request in beside.requests}) == 2


def test_knobs_reach_the_engine():
    """The engine gets the model, temperature and longest answer, for one completion each."""
    engine = Echo()
    LlmJudge(engine, "gpt", temperature=0.5, max_new_tokens=7).ask(["a"])
    assert engine.models == ["gpt"]
    sampling = engine.samplings[0]
    assert (sampling.n, sampling.temperature, sampling.max_new_tokens) == (1, 0.5, 7)
    LlmReferee(engine, COMPARE, "gpt-2", temperature=0.25, max_new_tokens=8).compare(
        [Comparison("p", "x", "y")]
    )
    assert engine.models[1] == "gpt-2"
    assert engine.samplings[1].temperature == 0.25
    assert engine.samplings[1].max_new_tokens == 8


def test_a_model_on_disk_is_named_by_its_folder(tmp_path):
    """The engine gets the path. A folder without a model is refused at once."""
    seen = []

    class Loader(Echo):
        def generate(self, model, requests, sampling, seed):
            seen.append(model.path)
            return super().generate(model, requests, sampling, seed)

    with pytest.raises(InputError, match=r"holds no config\.json"):
        LlmJudge(Loader(), model_path=str(tmp_path))
    (tmp_path / "config.json").write_text("{}", "utf-8")
    LlmJudge(Loader(), model_path=str(tmp_path)).ask(["a"])
    assert seen == [tmp_path]


def test_a_comparison_shows_both_answers_in_their_order():
    """Every text is unchanged in its place, even if it looks like a placeholder."""
    said = LlmReferee(Echo(), COMPARE).compare([Comparison("{first}?", "x {second}", "y")])
    assert said[0].text.startswith("Asked: {first}?\nA: x {second}\nB: y\n")


def test_the_prompt_is_no_verdict():
    """It names all three verdicts. Only the judge's text counts."""
    silent = FakeEngine(lambda request, sample: "I would rather not say.")
    (said,) = LlmReferee(silent, COMPARE).compare([Comparison("p", "[[A]]", "[[A]]")])
    assert parse_verdict(said.text, said.finish).winner is None


def test_a_referee_compares_and_scores_only_if_told_how():
    """Without a judge prompt nothing is asked, and every score is missing."""
    engine = Echo()
    referee = LlmReferee(engine, COMPARE)
    assert isinstance(referee, ComparingReferee)
    opinions = referee.assess_all([("p", "x"), ("q", "y")])
    assert [(one.score, one.reasons) for one in opinions] == [(None, ())] * 2
    assert engine.requests == []


def test_scores_are_read_from_its_words_which_are_kept():
    """They are in the order of the requests. A text without a score gives none."""
    words = {"good": "Fine. Score: 4", "bad": "Hm."}
    engine = FakeEngine(lambda request, sample: words[request.prompt.split()[3].strip(",")])
    opinions = LlmReferee(engine, COMPARE, judge_prompt=JUDGE).assess_all(
        [("p", "bad"), ("p", "good"), ("p", "bad")]
    )
    assert [one.score for one in opinions] == [None, 4, None]
    assert opinions[1].reasons == ("Fine. Score: 4",)
    assert len(engine.requests) == 2


def test_a_judgement_that_was_cut_gives_no_score():
    """The end of a cut text is not its conclusion."""
    cut = FakeEngine(lambda request, sample: Completion("Score: 4", 3, "length"))
    (opinion,) = LlmReferee(cut, COMPARE, judge_prompt=JUDGE).assess_all([("p", "x")])
    assert opinion.score is None


def test_the_scripted_engine_can_be_the_referee():
    """It gives scores, but no verdicts."""
    referee = LlmReferee(ScriptedEngine(score=3), COMPARE, judge_prompt=JUDGE)
    assert referee.assess_all([("p", "x")])[0].score == 3
    (said,) = referee.compare([Comparison("p", "x", "y")])
    assert parse_verdict(said.text).reason == "no_verdict"
    referee.release()


def test_faulty_prompts_are_refused_with_all_their_faults():
    """They are refused before anything is asked or paid for."""
    with pytest.raises(InputError, match=r"(?s)4 faults.*\{prompt\}.*\{second\}.*\[\[B\]\]"):
        LlmReferee(Echo(), "{first} [[A]]")
    with pytest.raises(InputError, match="judge prompt"):
        LlmReferee(Echo(), COMPARE, judge_prompt="{instruction}")


def test_the_shipped_prompts_are_accepted():
    """The parsers read what these prompts ask for."""
    texts = [(PROMPTS / f"{name}.txt").read_text("utf-8") for name in ("compare", "judge")]
    LlmReferee(Echo(), texts[0], judge_prompt=texts[1])
    assert parse_verdict("A is right.\n[[A]]").winner == "first"
    assert parse_score("It is right.\nScore: 5").score == 5


def test_answers_that_leave_the_judge_no_room_have_no_verdict():
    """The judge is not asked, and the run goes on."""
    judge = LlmReferee(ScriptedEngine(positions=40), COMPARE, max_new_tokens=5)
    (said,) = judge.compare([Comparison("p", "word " * 60, "y")])
    assert (said.text, said.finish) == ("", "no_room")
    assert parse_verdict(said.text, said.finish).winner is None
