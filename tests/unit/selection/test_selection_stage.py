"""Validation answers, the comparison with the model before, and what follows."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.selection.decision import (
    SCORES,
    RollbackParams,
    choose_best,
    compare_with_previous,
    guard_next,
    reward_validation_responses,
)
from srlm_kedro.pipelines.selection.nodes import (
    COLUMNS,
    SelectionParams,
    draw_validation_responses,
    judge_validation_responses,
)
from srlm_kedro.records import Checkpoint
from tests.unit.fakes import M1, FakeEngine

M2, M3 = (Checkpoint(Path(name), name) for name in ("m2", "m3"))
EFT_EVAL = pd.DataFrame(
    [(f"e{n}", f"ask {n}", f"e{n}-{r}", f"answer {r}", r) for n in range(6) for r in range(3)],
    columns=["prompt_id", "prompt", "response_id", "response", "rank"],
)
ROLLBACK = RollbackParams(resamples=100)
NAN = float("nan")


def draw(engine, model=M2, seed=0, **knobs):
    return draw_validation_responses(model, EFT_EVAL, engine, SelectionParams(**knobs), seed)


def scores(model, by_prompt, tokens=5):
    """Validation scores out of {prompt_id: [reward, ...]}."""
    rows = [
        (model, prompt, f"{model}-{prompt}-v{n}", tokens, reward)
        for prompt, rewards in by_prompt.items()
        for n, reward in enumerate(rewards)
    ]
    return pd.DataFrame(rows, columns=SCORES).astype({"reward": float})


def compare(own, previous, rollback=ROLLBACK):
    tables = scores("m2", own, tokens=7), scores("m1", previous)
    return compare_with_previous(M2, *tables, rollback, 0)


def test_every_prompt_is_answered_n_times_whatever_was_ranked_of_it():
    """Six prompts with three ranked responses each are six prompts."""
    engine = FakeEngine(lambda request, n: f"{request.prompt} {n}")
    table = draw(engine, sampling={"n": 2})
    assert list(table) == COLUMNS
    assert [request.id for request in engine.requests] == [f"e{n}" for n in range(6)]
    assert table["response_id"].is_unique
    assert table["response_id"].tolist()[:2] == ["m2-e0-v0", "m2-e0-v1"]
    assert set(table["model"]) == {"m2"}


def test_of_too_many_prompts_the_same_ones_are_asked_of_every_model():
    """The seed chooses them, and they keep their order."""
    engine = FakeEngine(lambda request, n: "yes")
    asked = [set(draw(engine, model, prompts=3)["prompt_id"]) for model in (M1, M2)]
    assert asked[0] == asked[1]
    assert len(asked[0]) == 3
    other = {tuple(draw(engine, seed=seed, prompts=3)["prompt_id"].unique()) for seed in range(5)}
    assert len(other) > 1
    assert all(list(ids) == sorted(ids) for ids in other)


def test_one_judge_rewards_the_answers_of_all():
    """The reward is the mean of the scores; a judgement without one enters no mean."""
    answers = draw(FakeEngine(lambda request, n: f"answer {n}"), sampling={"n": 2}, prompts=1)
    judge = FakeEngine(lambda request, k: "Score: 4" if k else "no idea")
    knobs = SelectionParams(judging={"n": 2}, retries=0)
    template = "{instruction}\n{response}\nScore: <total points>"
    judgements = judge_validation_responses(M1, answers, template, judge, knobs, 0)
    assert judge.models == ["m1"]
    table = reward_validation_responses(answers, judgements)
    assert list(table) == SCORES
    assert table["reward"].tolist() == [4.0, 4.0]


def test_a_model_that_loses_beyond_doubt_is_worse_and_the_log_says_so(caplog):
    """All answers lose on all prompts, so the interval is at -100."""
    with caplog.at_level(logging.WARNING):
        metrics = compare({"a": [1, 2], "b": [0]}, {"a": [3, 3], "b": [5]})
    assert metrics["selection/worse"] == 1.0
    assert metrics["selection/win_minus_loss_vs_previous"] == -100.0
    assert metrics["selection/win_minus_loss_vs_previous_high"] == -100.0
    assert metrics["selection/prompts"] == 2
    assert metrics["selection/mean_reward"] == 1.0
    assert metrics["selection/mean_reward_previous"] == pytest.approx(11 / 3)
    assert (metrics["selection/mean_length"], metrics["selection/mean_length_previous"]) == (7, 5)
    for part in ("m2 is worse than m1", "-100.0 points", "`loop.when_worse`", "go_on", "stop"):
        assert part in caplog.text


@pytest.mark.parametrize(
    ("own", "previous", "margin", "worse"),
    [
        ({"a": [3], "b": [3]}, {"a": [3], "b": [3]}, 0, 0.0),  # all ties
        ({"a": [5], "b": [1]}, {"a": [3], "b": [3]}, 0, 0.0),  # the interval holds 0
        ({"a": [1, 3], "b": [1, 3]}, {"a": [3], "b": [3]}, 0, 1.0),  # -50 on every prompt
        ({"a": [1, 3], "b": [1, 3]}, {"a": [3], "b": [3]}, 50, 0.0),  # not further than the margin
        ({"a": [5], "b": [5]}, {"a": [3], "b": [3]}, 0, 0.0),  # better
    ],
)
def test_worse_is_what_lies_beyond_the_margin_with_its_whole_interval(own, previous, margin, worse):
    """A tie, an uncertain loss or a small one is not worse."""
    assert compare(own, previous, RollbackParams(margin=margin))["selection/worse"] == worse


def test_prompts_weigh_alike_and_answers_without_a_reward_are_left_out():
    """A prompt won by four answers counts as one lost by one does; a missing reward is no loss."""
    metrics = compare({"a": [5, 5, 5, 5], "b": [0, NAN]}, {"a": [1], "b": [1]})
    assert metrics["selection/win_minus_loss_vs_previous"] == 0.0
    assert metrics["selection/unrewarded"] == 1


@pytest.mark.parametrize("own", [{}, {"a": [NAN]}, {"z": [3]}])
def test_without_a_prompt_in_common_nobody_is_called_worse(own, caplog):
    """The figures are left out, the log says why, and the loop goes on."""
    metrics = compare(own, {"a": [3]})
    assert "selection/worse" not in metrics
    assert all(pd.notna(value) for value in metrics.values())
    assert "it is unknown whether" in caplog.text
    assert guard_next(M2, metrics) == {"checked": True}


def test_the_guard_stops_after_a_worse_model_with_figures_and_ways_on():
    """The message names both models, the figures, what is not begun, and what can be done."""
    worse = compare({"a": [1]}, {"a": [3]})
    with pytest.raises(GateError) as stopped:
        guard_next(M2, worse)
    for part in (
        *("m2 is worse than m1", "-100.0 points (95% interval -100.0 to -100.0)"),
        *("m3 is not begun", "all results are kept", "best", "go_on"),
        *("`rollback.margin`", "`dpo.beta`"),
    ):
        assert part in str(stopped.value)
    assert guard_next(M2, compare({"a": [5]}, {"a": [3]})) == {"checked": True}


def test_the_best_stays_until_a_model_is_not_worse(caplog):
    """If M2 is worse, M1 stays the best, and M3 is compared with M1's scores."""
    own, before = scores("m2", {"a": [1]}), scores("m1", {"a": [3]})
    worse, better = {"selection/worse": 1.0}, {"selection/worse": 0.0}
    best, kept = choose_best(M2, M1, worse, own, before)
    assert (best, kept["model"].unique().tolist()) == (M1, ["m1"])
    assert "starts from m1, the best so far" in caplog.text
    for not_worse in (better, {}):
        best, kept = choose_best(M2, M1, not_worse, own, before)
        assert (best, kept["model"].unique().tolist()) == (M2, ["m2"])
