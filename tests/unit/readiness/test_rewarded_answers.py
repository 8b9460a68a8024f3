"""Readiness of a loop whose responses a program rewards, alone or with the judge."""

import pytest

from tests.unit.readiness.stage import Model, good, readiness

BOTH = {"reward": "both"}


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
