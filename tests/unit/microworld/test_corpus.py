"""The corpus has answers, checks, reviews and tasks in the formats of the loop."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from srlm_kedro.judge.parsing import parse_score
from srlm_kedro.judge.prompt import fill_judge_prompt
from srlm_kedro.microworld.answers import read
from srlm_kedro.microworld.corpus import ASSISTANT, END, USER, corpus
from srlm_kedro.microworld.instructions import parse
from srlm_kedro.microworld.oracle import facts
from srlm_kedro.microworld.params import CorpusParams, ReviewerParams
from srlm_kedro.microworld.reviews import CRITERIA, EXACT

PROMPTS = Path(__file__).parents[3] / "conf" / "base" / "prompts"
CARELESS = ReviewerParams()
ALL = ", ".join(CRITERIA)
MIXTURE = CorpusParams(
    documents=600,
    reviews=0.5,
    tasks=0.2,
    checks=0.1,
    drills=0.05,
    opening=0.3,
    opening_drills=0.2,
    opening_checks=0.6,
    checked_requests=(0.15, 0.7),
    list_length=9,
    reviewed_right=0.6,
    reviewed_slips=0.2,
    reviewed_in_full=0.5,
)


@pytest.fixture(scope="module")
def judge_prompt():
    return (PROMPTS / "judge.txt").read_text("utf-8")


def documents(judge_prompt, seed=0, reviewer=CARELESS, **kwargs):
    few_shot = (PROMPTS / "few_shot.txt").read_text("utf-8")
    rng = random.Random(seed)
    mixture = MIXTURE.model_copy(update={"reviewers": reviewer})
    return list(corpus(mixture, judge_prompt, few_shot, rng, **kwargs))


def test_the_same_seed_makes_the_same_corpus(judge_prompt):
    """A corpus depends only on its seed."""
    assert documents(judge_prompt) == documents(judge_prompt)
    assert documents(judge_prompt) != documents(judge_prompt, seed=1)


def test_all_kinds_occur_and_the_rubric_comes_late(judge_prompt):
    """Every kind has its share; the opening has no judge prompts."""
    kinds = [kind for kind, _ in documents(judge_prompt)]
    counts = Counter(kinds)
    assert counts["review"] > counts["tasks"] > 50
    assert counts["answer"] > 50
    opening = Counter(kinds[:180])
    assert set(opening) == {"drill", "check", "answer"}
    assert opening["check"] > 80
    assert "check" in kinds[180:]


def reviews(judge_prompt, **kwargs):
    made = documents(judge_prompt, **kwargs)
    return [segments for kind, segments in made if kind == "review"]


def listed(segments):
    """The criteria that the judge prompt of a review lists."""
    return re.search(r"Justify the points for (.+), then", segments[4][0])[1]


def true_score(segments, counted):
    """The score of an exact reviewer by the given criteria."""
    points = facts(parse(segments[1][0]), read(segments[3][0])).points
    return sum(point for name, point in zip(CRITERIA, points, strict=True) if name in counted)


def test_reviews_follow_the_filled_judge_prompt(judge_prompt):
    """A review document is the judge prompt as the loop fills it, as one turn, and the review; in
    some prompts another list of what counts stands in the place of all.
    """
    found = reviews(judge_prompt)
    for segments in found:
        text = "".join(piece for piece, _ in segments)
        template = judge_prompt.replace(ALL, listed(segments))
        filled = fill_judge_prompt(template, segments[1][0], segments[3][0])
        assert text.startswith(USER + filled + ASSISTANT)
        assert text.endswith(END)
    assert 0.4 < sum(listed(each) == ALL for each in found) / len(found) < 0.6


@pytest.mark.parametrize("known", [ALL, "items, all"], ids=["all", "two"])
def test_the_score_is_of_what_the_prompt_lists(judge_prompt, known):
    """This holds for any list in the judge prompt of the loop."""
    found = reviews(judge_prompt.replace(ALL, known), reviewer=EXACT)
    assert sum(listed(each) == known for each in found) > 0.4 * len(found)
    for segments in found:
        score = parse_score(segments[5][0].removesuffix(END)).score
        assert score == true_score(segments, listed(segments).split(", "))


def test_by_a_judge_prompt_without_a_list_all_counts(judge_prompt):
    """The prompt stays as it is, and all criteria count."""
    plain = judge_prompt.replace(f"the points for {ALL}", "the points")
    found = reviews(plain, reviewer=EXACT)
    assert {segments[4][0] for segments in found} == {found[0][4][0]}
    for segments in found:
        score = parse_score(segments[5][0].removesuffix(END)).score
        assert score == true_score(segments, CRITERIA)


def test_checks_go_through_items_first_and_requests_later(judge_prompt):
    """One names each item of the response in its order, and how many fit; the other each request
    of the prompt.
    """
    checks = [segments for kind, segments in documents(judge_prompt) if kind == "check"]
    of_items = [found.startswith("I find") for _, (found, _) in checks]
    assert sum(of_items[:80]) > 60
    assert 10 < sum(of_items[-40:]) < 30
    for (shown, _), (found, learnt) in checks:
        prompt, response = shown.removeprefix("Instruction: ").strip().split("\n\nResponse: ")
        assert learnt
        if found.startswith("I find"):
            named = re.findall(r"(\w+) (?:fits|again|strange|unwanted|extra)", found)
            assert tuple(named) == read(response).items
            assert re.search(r"\d of \d, (right|wrong)\.<eos>$", found)
        else:
            assert re.findall(r"(?:has|lacks) (\w+)", found) == list(parse(prompt).requests)
            assert re.search(r", (in full|in part|hardly)\.<eos>$", found)


def test_only_answers_checks_reviews_and_tasks_are_learnt(judge_prompt):
    """Only answers, checks, reviews and tasks have a loss; their context has none."""
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
    """Evaluation prompts are in no document."""
    shown = {
        segments[1][0] for kind, segments in documents(judge_prompt) if kind in ("answer", "review")
    }
    excluded = frozenset(sorted(shown)[:50])
    again = documents(judge_prompt, excluded=excluded)
    texts = {piece for _, segments in again for piece, _ in segments}
    assert not excluded & texts
