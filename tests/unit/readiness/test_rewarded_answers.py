"""Readiness of the rewards: by the judge, by a program, or by both."""

from types import SimpleNamespace

import pytest

from tests.unit.readiness.stage import Model, good, readiness

BOTH = {"reward": "both"}
CRITERIA = {"judge_form": "criteria"}


class Checker:
    """Understands the prompts with some number, and gives each response three points."""

    def __init__(self, known):
        self._known = known

    def understands(self, prompt):
        return self._known in prompt

    def kind(self, prompt):
        return "thing"

    def assess(self, prompt, response):
        return SimpleNamespace(score=3.0, reasons=("It is so.",))

    def assess_all(self, pairs):
        return [self.assess(*pair) for pair in pairs]


def test_criteria_and_a_program_may_reward_together():
    """The checker has no criteria; what is told of judgements is of the judge's."""
    table, _, made = readiness(Model(), loop=BOTH | {"judge_form": "criteria"})
    figures = made["readiness_answer_figures"]
    assert len(made["readiness_judgements"]) == 2 * figures["responses"]
    assert figures["judgements"] == figures["responses"]
    assert table.loc["pairs", "verdict"] == "ready"


def test_a_program_does_not_hide_a_judge_that_says_little():
    """The share of judgements with a score is the judge's; without any there is no reward."""

    def hesitant(request, sample):
        return good(request, sample) if sample else "Hm."

    _, _, made = readiness(Model(judges=hesitant), loop=BOTH)
    assert made["readiness_answer_figures"]["parse_rate"] == pytest.approx(2 / 3)
    table, _, _ = readiness(Model(judges=lambda request, sample: "Hm."), loop=BOTH)
    assert table.loc["pairs", "verdict"] == "not ready"
    assert "full scores" not in table.index


@pytest.mark.parametrize("reward", ["checked", "both"])
def test_prompts_that_the_checker_does_not_understand_are_told(reward):
    """In the checker's own words, which say what to do; no judge would help."""
    table, text, _ = readiness(Model(), loop={"reward": reward}, checker=Checker("none such"))
    row = table.loc["pairs"]
    assert (row["verdict"], row["needed"]) == ("not ready", True)
    assert "0 of 16 prompts give a pair. No response has a reward: checker: it" in row["found"]
    assert "understands none of 16 prompts, such as 'Please tell me thing" in row["found"]
    assert "Name a checker of these prompts in the catalog" in " ".join(text.split())
    assert row["advice"] == ""
    assert table.loc["overall", "verdict"] == "not ready"


def silent(request, sample):
    return "Hm."


def full(request, sample):
    return "All of it is good.\nScore: 5"


def same(text):
    return 0.5


@pytest.mark.parametrize(
    ("model", "loop", "wanted", "unwanted"),
    [
        (Model(full), {}, ["sampling.n", "judge_form"], []),
        (Model(full), {"eft": "ranking"}, ["sampling.n"], ["judge_form"]),
        (Model(sees=same), CRITERIA, ["`criteria_prompt`"], ["judge_form", "judging"]),
        (Model(), {"reward": "checked"}, ["`responses.sampling.n`", "`checker`"], ["judg"]),
        (Model(silent), {}, ["loop.judge: external"], []),
        (Model(silent), {"judge": "external"}, ["follows instructions"], ["loop.judge"]),
        (Model(silent), BOTH, ["`checker`", "loop.judge: external"], []),
    ],
)
def test_nothing_is_advised_that_the_loop_has_or_refuses(model, loop, wanted, unwanted):
    """Why prompts give no pair has other ways out with other rewards."""
    table, _, _ = readiness(model, loop=loop, checker=Checker("1"))
    advice = table.loc["pairs", "advice"]
    assert [word for word in wanted if word not in advice] == []
    assert [word for word in unwanted if word in advice] == []


def test_a_judge_that_does_not_know_has_the_ways_out_that_are_left():
    """An external judge and a program are advised only where they are not in use."""
    table, _, _ = readiness(Model(full), loop=BOTH)
    for way in ("loop.judge: external", "loop.reward: checked"):
        assert way in table.loc["accuracy in words", "advice"]
    table, _, _ = readiness(Model(full), loop={"judge": "external", "eft": "ranking"})
    for way in ("loop.judge: external", "loop.reward: checked", "judge_form"):
        assert way not in table.loc["accuracy in words", "advice"]
    assert "judge_form" not in table.loc["ties in words", "advice"]


def test_responses_that_a_program_finds_perfect_need_harder_prompts():
    """No rubric and no judge is in play."""

    class Easy(Checker):
        def assess(self, prompt, response):
            return SimpleNamespace(score=5.0, reasons=())

    table, _, _ = readiness(Model(), loop={"reward": "checked"}, checker=Easy("thing"))
    assert table.loc["full scores", "advice"].startswith("Take prompts that ask for more")
