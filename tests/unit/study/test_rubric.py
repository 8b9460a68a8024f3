"""Whether the judge reads its rubric."""

import random

import pandas as pd
import pytest

from srlm_kedro.judge.prompt import check_judge_prompt
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.study.rubric import RubricParams, judge_shuffled, measure_rubric, shuffled
from tests.unit.fakes import M1, FakeEngine

TEMPLATE = """Review the answer.
- One point if it is polite and clear.

User: {instruction}
<answer>
{response}
</answer>
[End of it]
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
    """The same words on lines with as many words; placeholders and their tags do not move."""
    found = check_judge_prompt(shuffled(TEMPLATE, random.Random(0)))
    assert words(found) == words(TEMPLATE)
    assert found != TEMPLATE
    pairs = list(zip(found.split("\n"), TEMPLATE.split("\n"), strict=True))
    assert all(len(new.split()) == len(old.split()) for new, old in pairs)
    assert [new == old for new, old in pairs] == [False, False, *[True] * 6, False]


def reader(request, k):
    """A judge that needs a line of the rubric to score one of the responses."""
    good = "good" in request.prompt
    if "polite and clear" in request.prompt:
        return "Score: 5" if good else "Score: 1"
    return "no idea" if good and k else "Score: 3"


def deaf(request, k):
    """A judge that does not read the rubric."""
    return "Score: 5" if "good" in request.prompt else "Score: 1"


def measured(say, template=TEMPLATE, table=EFT_EVAL, right=100.0):
    """Judgements under two orders, and the figures of them."""
    engine, evaluation = FakeEngine(say), EvaluationParams(judging={"n": 2})
    told = judge_shuffled(M1, table, template, engine, evaluation, RubricParams(shuffles=2), 0)
    plain = pd.DataFrame({"pairwise_accuracy": [right], "pairs": [4], "unscored_pairs": [1]})
    return engine, told, measure_rubric(table, told, plain)


@pytest.mark.parametrize(("say", "right"), [(reader, 0), (deaf, 100)], ids=["reads", "does not"])
def test_a_judge_that_reads_loses_what_the_words_told_it(say, right):
    """A judge that does not read the rubric loses no accuracy."""
    engine, told, figures = measured(say, right=75.0)
    assert told["order"].tolist() == [0] * 4 + [1] * 4
    assert len({request.prompt for request in engine.requests}) == len(engine.requests) == 4
    assert figures == {
        "study/rubric_right": 100,
        "study/rubric_right_shuffled": right,
        "study/rubric_unscored": 0,
    }


def test_what_gives_no_score_is_no_proof_of_reading():
    """If one order gives no score, the accuracy is that of the other, and the share is reported."""
    prompts = []

    def say(request, k):
        prompts.append(request.prompt)
        return "no idea" if len(set(prompts)) < 3 else deaf(request, k)

    _, _, figures = measured(say)
    assert figures["study/rubric_right_shuffled"] == 100
    assert figures["study/rubric_unscored"] == 50


def test_without_words_or_rankings_there_is_no_figure():
    """A prompt with only placeholders, no responses, or equal ranks give no figures."""
    bare = "Review {instruction}\nand {response} for a Score:"
    for given in ({"template": bare}, {"table": EFT_EVAL[:0]}):
        engine, _, figures = measured(deaf, **given)
        assert (engine.requests, figures) == ([], {})
    assert "study/rubric_right_shuffled" not in measured(deaf, table=EFT_EVAL.assign(rank=0))[2]
