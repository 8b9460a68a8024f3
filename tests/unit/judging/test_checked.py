"""Rewards by a program that knows the true score, alone or beside the judge."""

from types import SimpleNamespace

import pandas as pd
import pytest

from srlm_kedro.engines.generation.base import UNREAD
from srlm_kedro.errors import GateError
from srlm_kedro.judge.criteria import CriteriaPrompt, ListedCriteria
from srlm_kedro.judge.judgements import reparse
from srlm_kedro.pipelines.judging import create_checked_pipeline
from srlm_kedro.pipelines.judging.checked import check_candidates, judge_and_check
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.records import Criterion
from tests.unit.fakes import M1, FakeEngine
from tests.unit.in_memory import reward_responses
from tests.unit.judge.test_criteria import ChoosingEngine, log_odds

WORDED = "{instruction} {response} Score:"
CRITERIA = CriteriaPrompt("{response} {criterion}", ListedCriteria((Criterion("good", "Good?"),)))
LENIENT = JudgingParams(max_unparsed=1.0)
ONCE = JudgingParams(max_unparsed=1.0, retries=0)
TRUE = {"answer 0": 5.0, "answer 1": 2.5, "answer 2": 0.0}


class Checker:
    """Knows the true scores of `ask ...`, and no other prompt."""

    def understands(self, prompt):
        return prompt.startswith("ask")

    def kind(self, prompt):
        return "ask"

    def assess(self, prompt, response):
        return SimpleNamespace(score=TRUE[response], reasons=("It is", f"{TRUE[response]}."))

    def assess_all(self, pairs):
        return [self.assess(*pair) for pair in pairs]


def responses(*prompts: str, finish: str = "stop") -> pd.DataFrame:
    """Three responses to each prompt."""
    rows = [
        (f"m2-p{p}", f"m2-p{p}-r{r}", prompt, f"answer {r}", 10, finish)
        for p, prompt in enumerate(prompts)
        for r in range(3)
    ]
    columns = ["prompt_id", "response_id", "prompt", "response", "tokens", "finish"]
    return pd.DataFrame(rows, columns=columns)


def both(table, engine, prompt=WORDED, params=ONCE):
    return judge_and_check(Checker(), M1, table, prompt, engine, params, seed=0)


def says(*texts):
    """A judge that says the same about every response, in its K judgements."""
    return FakeEngine(lambda request, sample: texts[sample % len(texts)])


def test_a_checked_reward_is_the_true_score():
    """One judgement a response, with the reasons as its text."""
    table = responses("ask me")
    judgements = check_candidates(Checker(), table, LENIENT)
    assert judgements["text"].tolist() == ["It is 5.0.", "It is 2.5.", "It is 0.0."]
    judged, metrics = reward_responses(table, judgements, WORDED, JudgingParams())
    assert judged["reward"].tolist() == [5.0, 2.5, 0.0]
    assert judged["scores"].tolist() == [1, 1, 1]
    assert metrics["judge/parse_rate"] == 1
    assert metrics["judge/mean_reward"] == 2.5
    assert metrics["judge/unrewarded"] == 0


def test_a_true_score_needs_no_second_one():
    """`judging.min_scores` is about judgements that are drawn."""
    params = JudgingParams(min_scores=3)
    table = responses("ask me")
    judgements = check_candidates(Checker(), table, params)
    judged, _ = reward_responses(table, judgements, WORDED, params)
    assert judged["reward"].notna().all()


def test_a_prompt_that_the_checker_does_not_understand_gives_no_reward():
    """Its responses stay in the table, and are counted."""
    table = responses("ask me", "tell me")
    judgements = check_candidates(Checker(), table, LENIENT)
    judged, metrics = reward_responses(table, judgements, WORDED, LENIENT)
    assert judged["reward"].isna().tolist() == [False] * 3 + [True] * 3
    assert judged["reason"].eq("ok").all()
    assert metrics["judge/unrewarded"] == 3


def test_a_checker_that_understands_no_prompt_stops_the_run():
    """Before the judge is asked, and with the setting that helps."""
    engine = says("Score: 3")
    for work in (
        lambda: check_candidates(Checker(), responses("tell me"), LENIENT),
        lambda: both(responses("tell me"), engine),
    ):
        with pytest.raises(GateError, match=r"none of 1 prompts, such as 'tell me'.*loop\.reward"):
            work()
    assert engine.requests == []


@pytest.mark.parametrize("finish", ["length", "no_room"])
def test_cut_responses_are_not_checked(finish):
    """They are dropped as they are with a judge, and the program is not asked."""
    table = pd.concat([responses("ask me"), responses("ask you", finish=finish)], ignore_index=True)
    table["response_id"] = [f"m2-r{n}" for n in range(6)]
    judgements = check_candidates(Checker(), table, LENIENT)
    assert judgements["response_id"].tolist() == ["m2-r0", "m2-r1", "m2-r2"]
    judged, metrics = reward_responses(table, judgements, WORDED, LENIENT)
    assert judged["reward"].isna().tolist() == [False] * 3 + [True] * 3
    dropped = {"length": "cut", "no_room": "unanswered"}[finish]
    assert metrics[f"judge/dropped_{dropped}"] == 3


def test_any_referee_that_scores_can_be_the_checker():
    """One that knows no rules of a world is asked about every prompt, and may give no score."""

    class Scores:
        def assess_all(self, pairs):
            return [
                SimpleNamespace(score=None if "1" in response else 4, reasons=())
                for _, response in pairs
            ]

    judgements = check_candidates(Scores(), responses("tell me"), LENIENT)
    judged, _ = reward_responses(responses("tell me"), judgements, WORDED, LENIENT)
    assert judged["reward"].tolist()[::2] == [4, 4]
    assert judged["reward"].isna().tolist() == [False, True, False]


def test_both_is_the_mean_of_the_judges_reward_and_the_checkers():
    """Whatever the number of judgements, and whether some of them have no score."""
    table = responses("ask me")
    for texts, own in (
        (("Score: 1", "Score: 2", "Score: 3"), 2),
        (("Score: 4", "I would rather not say.", "No."), 4),
    ):
        judged, metrics = reward_responses(table, both(table, says(*texts)), WORDED, ONCE)
        assert judged["reward"].tolist() == [(own + true) / 2 for true in (5.0, 2.5, 0.0)]
        scored = sum("Score" in text for text in texts)
        assert judged["scores"].tolist() == [scored + 1] * 3
        assert metrics["judge/judgements"] == 9
        assert metrics["judge/parse_rate"] == pytest.approx(scored / 3)


def test_a_response_without_one_of_the_two_has_no_reward():
    """A mean of one would be on another scale than its neighbours'."""

    def say(request, sample):
        return "No." if "answer 1" in request.prompt else "Score: 3"

    table = responses("ask me", "tell me")
    judged, _ = reward_responses(table, both(table, FakeEngine(say)), WORDED, LENIENT)
    assert judged["reward"].isna().tolist() == [False, True, False, True, True, True]


def test_the_checkers_scores_do_not_hide_a_judge_that_says_none():
    """The share without a score is of the judge's own judgements."""
    table = responses("ask me")
    judgements = both(table, says("No.", "Score: 3", "Score: 2"))
    with pytest.raises(GateError, match="33% of 9 judgements have no score"):
        reward_responses(table, judgements, WORDED, JudgingParams(retries=0))


def test_both_in_the_form_by_criteria(tmp_path):
    """The judge's points and the checker's score, read again from a file."""
    table = responses("ask me")
    engine = ChoosingEngine(lambda request: log_odds(0.6, 0.2))
    both(table, engine, CRITERIA).to_parquet(tmp_path / "judgements.parquet")
    judgements = pd.read_parquet(tmp_path / "judgements.parquet")
    judged, metrics = reward_responses(table, judgements, CRITERIA, JudgingParams(min_scores=2))
    assert judged["reward"].tolist() == pytest.approx([(3.75 + true) / 2 for true in TRUE.values()])
    assert metrics["judge/judgements"] == 3
    pd.testing.assert_series_equal(reparse(judgements)["score"], judgements["score"])


def test_criteria_that_no_prompt_has_are_named(tmp_path):
    """And nothing about drawing again, because nothing is drawn."""

    class Silent:
        def criteria(self, instruction):
            return []

    prompt = CriteriaPrompt("{response} {criterion}", Silent())
    table = responses("ask me")
    engine = ChoosingEngine(lambda request: log_odds(0.6, 0.2))
    judgements = both(table, engine, prompt)
    with pytest.raises(GateError, match=r"3 no_criteria \(the judge knows no criterion") as told:
        reward_responses(table, judgements, prompt, JudgingParams())
    assert "retries" not in str(told.value)
    assert "`criteria_prompt`" in str(told.value)


def test_criteria_without_room_need_shorter_texts():
    """No limit of new tokens ended them, and no retry would help."""
    table = responses("ask me")
    judgements = both(table, ChoosingEngine(lambda request: (UNREAD, UNREAD)), CRITERIA)
    with pytest.raises(GateError, match="3 no_room") as told:
        reward_responses(table, judgements, CRITERIA, JudgingParams())
    assert "Shorten the longest texts. All judgements" in str(told.value)
    assert "max_new_tokens" not in str(told.value)


def test_only_the_judge_needs_a_model():
    """With rewards by the checker alone no engine is loaded for them."""
    checked, mixed = (create_checked_pipeline(with_judge=each).inputs() for each in (False, True))
    assert "checker" in checked & mixed
    assert not {"judge", "judge_engine"} & checked
    assert {"judge", "judge_engine"} <= mixed
