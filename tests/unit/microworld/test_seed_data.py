"""The seed data are ranked by true scores, and the command makes the committed files."""

import json
from pathlib import Path
from statistics import mean

import pytest

from srlm_kedro.microworld.instructions import parse
from srlm_kedro.microworld.oracle import Oracle
from srlm_kedro.microworld.params import MicroworldParams
from srlm_kedro.pipelines.microworld.nodes import make_seed_data

ROOT = Path(__file__).parents[3]
RAW = ROOT / "data" / "01_raw"
ERRORS = ("items_wrong", "voice_missed")


@pytest.fixture(scope="module")
def tables():
    return make_seed_data(MicroworldParams())


def test_committed_files_are_those_the_command_makes(tables):
    """`kedro run --pipelines=seed_data` gives the files in data/01_raw."""
    for name, table in zip(("ift", "eft", "eval_prompts"), tables, strict=True):
        lines = (RAW / f"{name}.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line) for line in lines] == table.to_dict("records")


def test_no_prompt_occurs_twice(tables):
    """All prompts of all three tables differ."""
    prompts = [prompt for table in tables for prompt in table["prompt"]]
    assert len(set(prompts)) == len(prompts)


def test_ranks_follow_the_true_score(tables):
    """A better rank means a higher true score, and an equal rank the same score."""
    oracle = Oracle()
    for row in tables[1].itertuples():
        ranked = sorted(row.responses, key=lambda response: response["rank"])
        scores = [oracle.assess(row.prompt, one["text"]).score for one in ranked]
        assert scores == sorted(scores, reverse=True)
        ranks = [one["rank"] for one in ranked]
        assert len(set(zip(ranks, scores, strict=True))) == len(set(ranks)) == len(set(scores))


def test_evaluation_holds_kinds_that_training_never_shows(tables):
    """`seen` is false exactly for held-out combinations, which only evaluation has."""
    ift, eft, evaluation = tables
    assert not any(parse(prompt).held_out for table in (ift, eft) for prompt in table["prompt"])
    assert [not parse(prompt).held_out for prompt in evaluation["prompt"]] == list(
        evaluation["seen"]
    )
    assert 0 < evaluation["seen"].mean() < 1


def test_ift_responses_are_those_of_people(tables):
    """Items, voice and requests are right as often as the parameters say; nothing is added."""
    oracle, given = Oracle(), MicroworldParams().seed_data
    found = [oracle.assess(row.prompt, row.response) for row in tables[0].itertuples()]
    items, voice = (mean([getattr(one, name) for one in found]) for name in ERRORS)
    missed = mean([one.constraints_missed for one in found])
    assert not any(one.extras for one in found)
    assert items == pytest.approx(1 - given.ift_right, abs=0.1)
    assert voice == pytest.approx(1 - given.ift_helpful, abs=0.08)
    assert 0.4 < missed < 0.8
