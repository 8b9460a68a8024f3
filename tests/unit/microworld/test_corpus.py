"""The corpus holds answers, findings, reviews and tasks in the very formats of the loop."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from srlm_kedro.judge.prompt import fill_judge_prompt
from srlm_kedro.microworld.answers import Habits, read
from srlm_kedro.microworld.corpus import ASSISTANT, END, USER, Mixture, corpus
from srlm_kedro.microworld.instructions import parse
from srlm_kedro.microworld.reviews import Reviewer

PROMPTS = Path(__file__).parents[3] / "conf" / "base" / "prompts"
MIXTURE = Mixture(
    documents=600,
    reviews=0.5,
    tasks=0.2,
    checks=0.1,
    drills=0.05,
    opening=0.3,
    opening_drills=0.2,
    opening_checks=0.6,
    list_length=9,
    reviewed_right=0.6,
    reviewed_slips=0.2,
)


@pytest.fixture(scope="module")
def judge_prompt():
    return (PROMPTS / "judge.txt").read_text("utf-8")


def documents(judge_prompt, seed=0, **kwargs):
    few_shot = (PROMPTS / "few_shot.txt").read_text("utf-8")
    rng = random.Random(seed)
    return list(corpus(MIXTURE, Habits(), Reviewer(), judge_prompt, few_shot, rng, **kwargs))


def test_the_same_seed_makes_the_same_corpus(judge_prompt):
    """A corpus depends on its seed alone."""
    assert documents(judge_prompt) == documents(judge_prompt)
    assert documents(judge_prompt) != documents(judge_prompt, seed=1)


def test_all_kinds_occur_and_the_rubric_comes_late(judge_prompt):
    """Every kind has its share; the opening shows what items are, and no rubric."""
    kinds = [kind for kind, _ in documents(judge_prompt)]
    counts = Counter(kinds)
    assert counts["review"] > counts["tasks"] > 50
    assert counts["answer"] > 50
    opening = Counter(kinds[:180])
    assert set(opening) == {"drill", "check", "answer"}
    assert opening["check"] > 80
    assert "check" in kinds[180:]


def test_reviews_stand_behind_the_filled_judge_prompt(judge_prompt):
    """A review document is the judge prompt as the loop fills it, as one turn, and the review."""
    for kind, segments in documents(judge_prompt):
        if kind == "review":
            text = "".join(piece for piece, _ in segments)
            filled = fill_judge_prompt(judge_prompt, segments[1][0], segments[3][0])
            assert text.startswith(USER + filled + ASSISTANT)
            assert text.endswith(END)


def test_checks_go_through_the_items_of_the_response(judge_prompt):
    """A check names each item in its order, and how many fit."""
    checks = [segments for kind, segments in documents(judge_prompt) if kind == "check"]
    for (shown, _), (found, learnt) in checks:
        items = read(shown.split("Response: ")[1]).items
        named = re.findall(r"(\w+) (?:fits|again|strange|unwanted|extra)", found)
        assert (tuple(named), learnt) == (items, True)
        assert re.search(r"\d of \d, (right|wrong)\.<eos>$", found)


def test_what_nobody_answers_for_is_not_learnt(judge_prompt):
    """Loss falls on answers, findings and tasks, not on what they speak of."""
    for kind, segments in documents(judge_prompt):
        learnt = [piece for piece, learnt in segments if learnt]
        assert learnt
        if kind != "tasks":
            assert learnt == [segments[-1][0]]


def test_lists_have_the_form_of_the_few_shot_prompt(judge_prompt):
    """A list is eight demonstrations and the task that continues them."""
    lists = [segments for kind, segments in documents(judge_prompt) if kind == "tasks"]
    for segments in lists:
        lines = "".join(piece for piece, _ in segments).splitlines()
        assert [line.split(": ", 1)[0] for line in lines[1:]] == ["Task"] * 9
        assert all(parse(line.removeprefix("Task: ")) for line in lines[1:])


def test_excluded_prompts_never_occur(judge_prompt):
    """Evaluation prompts stand in no document."""
    shown = {
        segments[1][0] for kind, segments in documents(judge_prompt) if kind in ("answer", "review")
    }
    excluded = frozenset(sorted(shown)[:50])
    again = documents(judge_prompt, excluded=excluded)
    texts = {piece for _, segments in again for piece, _ in segments}
    assert not excluded & texts
