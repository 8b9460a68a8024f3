"""Readiness of models that judge well, say nothing, or have one fault each."""

import pytest
from pydantic import ValidationError

from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.errors import InputError
from srlm_kedro.judge.criteria import CriteriaPrompt, ListedCriteria
from srlm_kedro.pipelines.readiness.params import ReadinessParams
from srlm_kedro.records import Checkpoint
from tests.unit.readiness.stage import (
    M1,
    Model,
    length,
    quality,
    readiness,
    response,
    seed_data,
    task,
)

M0 = Checkpoint(M1.path, "m0")


def test_a_good_model_is_ready_in_both_forms():
    """Every line that the loop needs is ready, and the gain is that of a judge without mistakes."""
    table, text, _ = readiness(Model())
    needed = table[table["needed"]]
    assert set(needed["verdict"]) == {"ready"}, needed["verdict"]
    assert table.loc["overall", "verdict"] == "ready"
    assert table.loc["accuracy in words", "value"] == 1
    assert table.loc["accuracy by criteria", "value"] == 1
    assert table.loc["accuracy in words", "chance"] == 0.5
    assert not table["advice"].any()
    assert " ".join(text.split()).startswith("Readiness of M1 for this loop")
    assert "reward: judge): READY" in " ".join(text.split())
    assert table.loc["gain of the next model", "value"] == pytest.approx(53.3)
    assert "gain of M2" in text
    assert "MICROWORLD" in text


def test_a_model_whose_judgements_have_no_score_is_not_ready():
    """The reasons are in the words of the gates, and the way out is a judge that learns."""
    table, text, _ = readiness(Model(judges=lambda request, sample: "It is fine."), M0)
    row = table.loc["scores in words"]
    assert (row["verdict"], row["value"]) == ("not ready", 0)
    assert "192 no_score (they state none)" in row["found"]
    assert "`loop.eft: ranking`" in row["advice"]
    assert "`loop.judge_form: criteria`" in row["advice"]
    assert table.loc["examples of EFT", "verdict"] == "not ready"
    assert "`loop.eft: ranking`" in table.loc["examples of EFT", "advice"]
    assert table.loc["pairs", "verdict"] == "not ready"
    assert table.loc["overall", "verdict"] == "not ready"
    assert table.loc["accuracy by criteria", "verdict"] == "ready"
    assert not table.loc["accuracy by criteria", "needed"]
    assert "NOT READY" in text
    assert table.loc["ties in words", "verdict"] == "-"
    assert "gain of the next model" not in table.index
    assert "no prediction, because the judge orders no pair" in text


def test_judgements_that_the_limit_cuts_off_need_a_higher_limit():
    """It is the parameter of the stage that drew them, with its value."""

    def cut(request, sample):
        return Completion("It began to be read and then", 7, "length")

    table, _, _ = readiness(Model(judges=cut), eft={"sampling": {"max_new_tokens": 7}})
    assert table.loc["scores in words", "advice"].startswith(
        "Raise `eft.sampling.max_new_tokens` (now 7): it ended 192 of them."
    )


def test_a_judge_that_gives_everything_the_full_score_is_saturated():
    """No response can be told from another: full scores, ties, and no pair."""
    table, _, _ = readiness(Model(judges=lambda request, sample: "All of it is good.\nScore: 5"))
    for question in ("full scores", "ties in words", "pairs", "accuracy in words"):
        assert table.loc[question, "verdict"] == "not ready"
    assert table.loc["full scores", "value"] == 1
    assert "16 tie (all rewards are equal)" in table.loc["pairs", "found"]
    assert table.loc["repeats in words", "verdict"] == "-"


def test_a_judge_that_ties_most_pairs_may_still_know_the_rest():
    """Ties are a fault of their own with a knob of their own: accuracy is that of other pairs."""

    def coarse(request, sample):
        return f"It was read with some care.\nScore: {4 if quality(request.prompt) > 4 else 2}"

    table, _, _ = readiness(Model(judges=coarse))
    assert table.loc["accuracy in words", "value"] == 1
    assert table.loc["accuracy in words", "verdict"] == "ready"
    assert table.loc["ties in words", "value"] > 0.4
    assert "`loop.judge_form: criteria`" in table.loc["ties in words", "advice"]
    assert table.loc["gain of the next model", "value"] < 30


def test_a_judge_that_counts_words_is_biased_and_no_better_than_chance():
    """Its mistakes are long responses; people do not prefer these."""

    def wordy(request, sample):
        return f"It was read with some care.\nScore: {min(length(request.prompt) / 2, 5)}"

    table, _, _ = readiness(Model(judges=wordy), readiness={"rankings": 30})
    row = table.loc["length in words"]
    assert row["verdict"] == "not ready"
    assert row["value"] == pytest.approx(0.5, abs=0.15)
    assert "in 100% of" in row["found"]
    assert "`pairs.length_control`" in row["advice"]
    accuracy = table.loc["accuracy in words"]
    assert accuracy["verdict"] == "not ready"
    assert accuracy["low"] <= 0.5
    assert abs(table.loc["gain of the next model", "value"]) < 10


def test_draws_that_do_not_agree_are_noise():
    """Kappa is near zero where the second judgement knows nothing of the first."""

    def moody(request, sample):
        points = quality(request.prompt) if sample == 0 else len(request.prompt) * 7 % 6
        return f"It was read with some care.\nScore: {points}"

    table, _, _ = readiness(Model(judges=moody))
    assert abs(table.loc["repeats in words", "value"]) < 0.2
    assert table.loc["repeats in words", "verdict"] != "ready"
    assert "`judging.sampling.n`" in table.loc["repeats in words", "advice"]
    steady, _, _ = readiness(Model())
    assert steady.loc["repeats in words", "value"] == 1


def test_greedy_judgements_are_drawn_once():
    """A second one would be the same, and parameters that ask for it are refused elsewhere."""
    engine = Model()
    table, _, _ = readiness(engine, eft={"sampling": {"temperature": 0}})
    assert table.loc["repeats in words", "verdict"] == "-"


def test_a_loop_that_asks_by_criteria_needs_no_words():
    """A model that says nothing is ready if its probabilities know; few rankings are worded."""
    engine = Model(judges=lambda request, sample: "Hm.")
    table, _, made = readiness(engine, loop={"judge_form": "criteria"})
    assert table.loc["overall", "verdict"] == "ready"
    assert table.loc["scores in words", "verdict"] == "not ready"
    assert not table.loc["scores in words", "needed"]
    assert made["readiness_worded"]["response_id"].nunique() == 8 * 4
    assert made["readiness_criteria"]["response_id"].nunique() == 24 * 4
    assert "nothing is drawn" in table.loc["repeats by criteria", "found"]


def test_a_form_that_cannot_be_asked_is_named_and_skipped():
    """Criteria that nobody knows, an engine that refuses, and a form that was not wanted."""
    nothing = CriteriaPrompt("{response}{criterion}", ListedCriteria(()))
    table, text, _ = readiness(Model(), criteria_prompt=nothing)
    assert "knows no criteria" in table.loc["judge by criteria", "found"]
    assert table.loc["judge by criteria", "verdict"] == "-"
    assert table.loc["overall", "verdict"] == "ready"
    assert "cannot be asked, and was skipped" in text

    class Wordless(Model):
        def choice_logprobs(self, model, requests, choices):
            raise InputError("this server gives no probabilities")

    refused, _, _ = readiness(Wordless())
    assert "gives no probabilities" in refused.loc["judge by criteria", "found"]
    needed, _, _ = readiness(Wordless(), loop={"judge_form": "criteria"})
    assert needed.loc["overall", "verdict"] == "not ready"
    unwanted, _, _ = readiness(Model(), readiness={"other_rankings": 0})
    assert "`readiness.other_rankings` is 0" in unwanted.loc["judge by criteria", "found"]


def test_cut_responses_and_prompts_name_their_limits():
    """Each with the parameter of its stage."""

    def cut(request, sample):
        return Completion(response(3, 2), 4, "length")

    table, _, _ = readiness(
        Model(answers=cut, writes=lambda request, sample: Completion("Tell me of", 3, "length"))
    )
    assert table.loc["responses cut off", "verdict"] == "not ready"
    assert "`responses.sampling.max_new_tokens`" in table.loc["responses cut off", "advice"]
    assert "few_complete" in table.loc["pairs", "found"]
    assert table.loc["prompts cut off", "value"] == 1
    assert "`prompts.sampling.max_new_tokens` (now 256)" in table.loc["prompts cut off", "advice"]
    assert "48 cut_off" in table.loc["new prompts", "found"]


def test_a_writer_that_repeats_itself_gives_too_few_prompts():
    """The accepted share, taken for all that it may write, against what is asked for."""
    once = task(type("Asked", (), {"id": "one"}), 0)
    table, _, _ = readiness(Model(writes=lambda request, sample: once))
    assert table.loc["new prompts", "verdict"] == "not ready"
    assert "47 duplicate" in table.loc["new prompts", "found"]
    assert "loop.prompt_generator" in table.loc["new prompts", "advice"]


def test_what_m1_learns_is_counted_and_its_judge_not_needed_yet(monkeypatch):
    """With ranks or labels the examples are exact, and M0 need not judge."""
    typed = ["kedro", "run", "--env=smollm", "--pipeline=readiness", "--params=data=x"]
    monkeypatch.setattr("sys.argv", typed)
    silent = Model(judges=lambda request, sample: "Hm.")
    table, text, _ = readiness(silent, M0, loop={"eft": "ranking"})
    row = table.loc["examples of EFT"]
    assert row["verdict"] == "ready"
    assert row["cases"] == 90 * 4
    assert not table.loc["accuracy in words", "needed"]
    assert table.loc["overall", "verdict"] == "ready"
    lines = text.split("\n")
    again = "  kedro run --env=smollm --pipeline=readiness --params=data=x,readiness.model=m1"
    assert lines[lines.index(again) - 1] == (
        "  kedro run --env=smollm --pipeline=foundation --params=data=x"
    )
    assert table.loc["steps of the SFT baseline", "value"] == 75
    after, _, _ = readiness(silent, M1, loop={"eft": "ranking"})
    assert after.loc["overall", "verdict"] == "not ready"
    assert "examples of EFT" not in after.index


def test_labels_need_points():
    """Seed data without them leave nothing, and the reason is told."""
    labels = {"eft": "labels", "judge_form": "criteria"}
    table, _, _ = readiness(Model(), M0, loop=labels)
    assert table.loc["examples of EFT", "verdict"] == "not ready"
    assert "have no `points`" in table.loc["examples of EFT", "found"]
    _, ranked = seed_data()
    marked = ranked.assign(points=[[rank < 2] for rank in ranked["rank"]])
    table, _, _ = readiness(Model(), M0, marked, loop=labels, readiness={"min_examples": 10})
    assert table.loc["examples of EFT", "verdict"] == "ready"


def test_eft_by_the_baseline_is_a_share_of_all_seed_data():
    """A judge without mistakes keeps what is not too common; the sample stands for 90 prompts."""
    table, _, made = readiness(Model(), M0)
    figures = made["readiness_eft_figures"]
    assert figures["judgements"] == 24 * 4
    assert figures["examples"] == round(figures["kept_share"] * 24 * 4 * 360 / 96)
    assert table.loc["examples of EFT", "value"] == figures["examples"] > 100


def test_few_steps_are_told():
    """Of SFT and DPO, in the words that the gates have."""
    table, _, _ = readiness(Model(), M0, prompts={"count": 20}, sft={"batch_size": 1000})
    for question in ("steps of the SFT baseline", "steps of M1", "steps of DPO"):
        assert table.loc[question, "verdict"] == "doubtful"
        assert "can hardly teach a model anything" in table.loc[question, "advice"]


def test_rewards_by_a_program_need_no_judge():
    """The checker rewards; the gain is that of an order without mistakes."""
    silent = Model(judges=lambda request, sample: "Hm.")
    table, text, _ = readiness(silent, loop={"reward": "checked"})
    assert not table.loc["accuracy in words", "needed"]
    assert table.loc["pairs", "verdict"] == "ready"
    assert table.loc["gain of the next model", "value"] == pytest.approx(53.3)
    assert "rewards that are always right" in " ".join(text.split())


@pytest.mark.parametrize(
    ("group", "bound", "value", "other"),
    [("accuracy", "ready", 0.7, 0.55), ("ties", "doubtful", 0.9, 0.15)],
)
def test_a_bound_is_set_alone(group, bound, value, other):
    """The other keeps its default, and both must be in order."""
    found = getattr(ReadinessParams.model_validate({group: {bound: value}}), group)
    assert getattr(found, bound) == value
    assert found.model_dump().keys() == {"ready", "doubtful"}
    assert other in found.model_dump().values()
    wrong = {"accuracy": {"ready": 0.5}, "ties": {"doubtful": 0.1}}[group]
    with pytest.raises(ValidationError, match="must not be"):
        ReadinessParams.model_validate({group: wrong})
    with pytest.raises(ValidationError, match="extra_forbidden"):
        ReadinessParams.model_validate({group: {"reddy": 0.5}})


def test_an_answer_is_one_of_three_verdicts_by_its_bounds():
    """The bounds are parameters: with others the same figure has another verdict."""
    strict = {"ties": {"ready": 0.0, "doubtful": 0.0}, "pair_yield": {"ready": 1, "doubtful": 1}}

    def coarse(request, sample):
        return f"It was read with some care.\nScore: {quality(request.prompt) // 2 * 2}"

    lenient, _, _ = readiness(Model(judges=coarse), readiness={"ties": {"ready": 1, "doubtful": 1}})
    assert lenient.loc["ties in words", "verdict"] == "ready"
    table, _, _ = readiness(Model(judges=coarse), readiness=strict)
    assert table.loc["ties in words", "verdict"] == "not ready"
