"""Whether the judge reads its rubric."""

import random

import pandas as pd
import pytest

from srlm_kedro.judge.prompt import check_judge_prompt
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.evaluation.reward_modelling import measure_reward_modelling
from srlm_kedro.pipelines.study.params import StudyParams
from srlm_kedro.pipelines.study.rubric import judge_shuffled, measure_rubric, shuffled
from tests.unit.fakes import M1, FakeEngine

TEMPLATE = """Review the answer.
- One point if it is polite and clear.

User: {instruction}
<answer>
{response}
</answer>
Conclude with Score: <points>"""
EFT_EVAL = pd.DataFrame(
    {
        "prompt_id": ["e", "e"],
        "prompt": ["ask", "ask"],
        "response_id": ["e-r0", "e-r1"],
        "response": ["good", "bad"],
        "rank": [0, 1],
    }
)


def words(text):
    return sorted(text.split())


def test_words_move_and_places_stay():
    """The same words on lines as long as before; places and their tags where they were."""
    found = check_judge_prompt(shuffled(TEMPLATE, random.Random(0)))
    assert words(found) == words(TEMPLATE)
    assert found != TEMPLATE
    pairs = list(zip(found.split("\n"), TEMPLATE.split("\n"), strict=True))
    assert all(len(new.split()) == len(old.split()) for new, old in pairs)
    assert [new == old for new, old in pairs] == [False, False, *[True] * 5, False]


def reader(request, k):
    """Reads: without the line that it was taught it scores at random, and by turns not at all."""
    if "polite and clear" in request.prompt:
        return "Score: 5" if "good" in request.prompt else "Score: 1"
    return "Score: 3" if k else "no idea"


def deaf(request, k):
    return "Score: 5" if "good" in request.prompt else "Score: 1"


@pytest.mark.parametrize(
    ("say", "right", "unscored"), [(reader, 0, 50), (deaf, 100, 0)], ids=["reads", "does not"]
)
def test_a_judge_that_reads_loses_what_the_words_told_it(say, right, unscored):
    """One that does not read them loses nothing; a judgement without a score is not asked again."""
    engine = FakeEngine(say)
    evaluation = EvaluationParams(judging={"n": 2})
    told = judge_shuffled(M1, EFT_EVAL, TEMPLATE, engine, evaluation, StudyParams(shuffles=2), 0)
    assert told["order"].tolist() == [0] * 4 + [1] * 4
    assert len(engine.requests) == 4
    assert len({request.prompt for request in engine.requests}) == 4
    plain = pd.DataFrame({"model": ["m1"], "pairwise_accuracy": [100.0]})
    assert measure_rubric(EFT_EVAL, told, plain) == {
        "study/rubric_right": 100,
        "study/rubric_right_shuffled": right,
        "study/rubric_unscored": unscored,
    }
    assert measure_reward_modelling(EFT_EVAL, told)["model"].tolist() == ["m1"]
