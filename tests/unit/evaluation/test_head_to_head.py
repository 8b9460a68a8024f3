"""Wins, ties and losses, and the interval of their difference."""

import numpy as np
import pandas as pd
import pytest

from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.evaluation.comparisons import compare_with_elders
from srlm_kedro.pipelines.evaluation.head_to_head import (
    COLUMNS,
    settle,
    settle_comparisons,
)
from srlm_kedro.pipelines.evaluation.params import EvaluationParams

EVALUATION = EvaluationParams(resamples=200)
NAN = float("nan")


def scores(model, by_prompt, mode="sampled"):
    """A table of `eval_scores` out of {prompt_id: [score, ...]}; a response tells its score."""
    rows = [
        {
            "model": model,
            "prompt_id": prompt,
            "prompt": f"do {prompt}",
            "mode": mode,
            "sample": number,
            "response_id": f"{model}-{prompt}-{mode[0]}{number}",
            "response": f"{model} {score}",
            "score": float(score),
        }
        for prompt, values in by_prompt.items()
        for number, score in enumerate(values)
    ]
    return pd.DataFrame(rows)


class Scorer:
    """A referee that only scores."""

    def assess_all(self, pairs):
        raise AssertionError("scores are at hand already")


def contest(model, previous, baseline=None, referee=None, evaluation=EVALUATION, seed=0):
    """The nodes of the stage after the responses are scored."""
    tables = model, previous, previous if baseline is None else baseline
    verdicts = compare_with_elders(*tables, referee or Scorer(), evaluation)
    return settle_comparisons(*tables, verdicts, evaluation, seed)


def duel(model, opponent, evaluation=EVALUATION, seed=0):
    table, _ = contest(
        scores("m2", model), scores("m1", opponent), evaluation=evaluation, seed=seed
    )
    return table.iloc[0].to_dict()


def test_every_response_meets_every_one_of_the_opponent():
    """5 wins against 3 and 4; 3 ties with 3 and loses against 4."""
    row = duel({"a": [5, 3]}, {"a": [3, 4]})
    assert (row["win"], row["tie"], row["loss"], row["n"]) == (50.0, 25.0, 25.0, 1)


def test_matched_pairing_compares_the_same_sample_only():
    """5 beats 3, and 3 loses to 4."""
    matched = EVALUATION.model_copy(update={"pairing": "matched"})
    row = duel({"a": [5, 3]}, {"a": [3, 4]}, evaluation=matched)
    assert (row["win"], row["tie"], row["loss"]) == (50.0, 0.0, 50.0)


def test_prompts_weigh_the_same_however_many_responses_they_have():
    """A prompt won with four responses counts as much as one lost with one."""
    row = duel({"a": [5, 5, 5, 5], "b": [0]}, {"a": [1], "b": [1]})
    assert (row["win"], row["loss"], row["n"]) == (50.0, 50.0, 2)


def test_greedy_responses_take_no_part():
    """Only sampled responses are compared."""
    model = pd.concat([scores("m2", {"a": [1]}), scores("m2", {"a": [5]}, mode="greedy")])
    table, _ = contest(model, scores("m1", {"a": [1]}))
    assert table["tie"].tolist() == [100.0]


@pytest.mark.parametrize(
    ("shown", "swapped", "outcome"),
    [(1, -1, 1), (-1, 1, -1), (0, 0, 0), (1, 1, 0), (-1, -1, 0), (1, 0, 0), (0, -1, 0)],
)
def test_disagreement_between_the_orders_is_a_tie(shown, swapped, outcome):
    """A win or a loss needs the same verdict in both orders."""
    assert settle(np.array([float(shown)]), np.array([float(swapped)]))[0] == outcome


def test_no_verdict_in_one_order_is_none_at_all():
    """A missing verdict does not count as a tie."""
    assert np.isnan(settle(np.array([NAN, 1.0]), np.array([1.0, NAN]))).all()


def test_responses_without_a_score_are_left_out():
    """A missing score does not count as a tie."""
    row = duel({"a": [5, NAN], "b": [NAN]}, {"a": [3], "b": [3]})
    assert (row["win"], row["n"]) == (100.0, 1)


def test_a_referee_that_scores_leaves_no_verdicts():
    """Its scores decide, and there are no metrics of verdicts."""
    tables = scores("m2", {"a": [5]}), scores("m1", {"a": [3]}), scores("sft", {"a": [3]})
    assert compare_with_elders(*tables, Scorer(), EVALUATION).empty
    _, metrics = contest(*tables)
    assert not [name for name in metrics if "win_minus_loss" not in name]


def test_models_evaluated_on_different_prompts_are_refused():
    """There is nothing to compare."""
    with pytest.raises(GateError, match="m2 and m1 have no prompt in common"):
        duel({"a": [5]}, {"b": [3]})


def test_interval_contains_the_estimate_and_follows_the_seed():
    """The same seed gives the same interval, another seed another one."""
    drawn = np.random.default_rng(1)
    model = {f"p{n}": drawn.integers(1, 6, 4) for n in range(40)}
    opponent = {f"p{n}": drawn.integers(0, 5, 4) for n in range(40)}
    row = duel(model, opponent)
    assert row["low"] < row["win"] - row["loss"] < row["high"]
    assert row["win"] + row["tie"] + row["loss"] == pytest.approx(100)
    assert duel(model, opponent) == row
    assert duel(model, opponent, seed=1)["low"] != row["low"]


def test_a_model_meets_its_predecessor_and_the_baseline():
    """One row each, in the columns of head_to_head.csv, and metrics for both."""
    table, metrics = contest(
        scores("m2", {"a": [5], "b": [2]}),
        scores("m1", {"a": [4], "b": [2]}),
        scores("sft", {"a": [4], "b": [1]}),
    )
    assert list(table.columns) == COLUMNS
    assert list(table["opponent"]) == ["m1", "sft"]
    assert metrics["eval/win_minus_loss_vs_previous"] == 50.0
    assert metrics["eval/win_minus_loss_vs_sft"] == 100.0
    assert metrics["eval/win_minus_loss_vs_sft_low"] == 100.0
    assert metrics["eval/win_minus_loss_vs_previous_high"] == 100.0


def test_the_baseline_is_the_predecessor_of_m1():
    """There is one row, and the two metrics are equal."""
    baseline = scores("sft", {"a": [1]})
    table, metrics = contest(scores("m1", {"a": [2]}), baseline)
    assert list(table["opponent"]) == ["sft"]
    assert metrics["eval/win_minus_loss_vs_previous"] == metrics["eval/win_minus_loss_vs_sft"]
