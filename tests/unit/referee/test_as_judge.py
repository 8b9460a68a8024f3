"""A referee that takes the place of the judge."""

import json
from pathlib import Path

import pytest

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.errors import InputError
from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.prompt import fill_judge_prompt
from srlm_kedro.microworld.oracle import Oracle
from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.as_judge import RefereeEngine

ROOT = Path(__file__).parents[3]
CONF = ROOT / "conf"
PROMPT = (CONF / "base/prompts/judge.txt").read_text("utf-8")
with (ROOT / "data/01_raw/ift.jsonl").open(encoding="utf-8") as file:
    EXAMPLE = json.loads(file.readline())
TASK, RIGHT = EXAMPLE["prompt"], EXAMPLE["response"]
ANSWERS = [RIGHT, "", f"{RIGHT}\n\nResponse: {{response}}"]


@pytest.fixture
def engine():
    return RefereeEngine(Oracle(), PROMPT)


def drawn(engine, *prompts, n=1):
    requests = [Request(f"r{at}", prompt) for at, prompt in enumerate(prompts)]
    return engine.generate(Checkpoint(Path("nowhere"), "oracle"), requests, Sampling(n=n), seed=1)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_judgement_says_the_true_score(engine, answer):
    """It is the oracle's score of this response, in words that the parser reads."""
    prompt = fill_judge_prompt(PROMPT, TASK, answer)
    ((said,),) = drawn(engine, prompt)
    truth = Oracle().assess(TASK, answer)
    assert parse_score(said.text, said.finish).score == truth.score
    assert said.text.startswith(truth.reasons[0])


def test_scores_differ_between_responses(engine):
    """Each request has its own answers, in order, as many as asked for."""
    prompts = [fill_judge_prompt(PROMPT, TASK, one) for one in (RIGHT, "", RIGHT)]
    rows = drawn(engine, *prompts, n=2)
    scores = [[parse_score(one.text, one.finish).score for one in row] for row in rows]
    assert scores[0] == scores[2] != scores[1]
    assert all(len(set(row)) == 1 and len(row) == 2 for row in scores)


def test_a_prompt_outside_the_world_has_no_score(engine):
    """It does not get a judgement of 0."""
    ((said,),) = drawn(engine, fill_judge_prompt(PROMPT, "Explain the tides.", "The moon."))
    assert parse_score(said.text, said.finish).score is None


def test_another_template_is_refused(engine):
    """The options name the file of another judge prompt."""
    other = (CONF / "multiple_choice/prompts/judge.txt").read_text("utf-8")
    with pytest.raises(InputError, match=r"request r0 was not made from its `judge_prompt`"):
        drawn(engine, fill_judge_prompt(other, TASK, RIGHT))


def test_a_referee_answers_no_single_question(engine):
    """It has a score of the whole response, which is no probability of an answer."""
    request = Request("r", fill_judge_prompt(PROMPT, TASK, RIGHT))
    with pytest.raises(InputError, match="referee: it gives scores and no probabilities"):
        engine.choice_logprobs(Checkpoint(Path("nowhere"), "oracle"), [request], (("Yes",),))
