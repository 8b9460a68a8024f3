"""Statistics of judging: wins, ties and losses, and five metrics of a judge worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from srlm_kedro.judge.statistics import (
    METRICS,
    bootstrap_interval,
    measure_reward_modelling,
    tally,
)

UNPARSED = "I would rather not say."


def test_interval_is_as_wide_as_theory_says():
    """For a mean of many values it is 1.96 standard errors to each side."""
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = bootstrap_interval(values, 4000, 0)
    expected = 2 * 1.96 * values.std() / 20
    assert high - low == pytest.approx(expected, rel=0.08)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)


def test_a_single_prompt_has_no_width():
    """One value gives the bootstrap no spread."""
    assert bootstrap_interval(np.array([50.0]), 100, 0) == (50.0, 50.0)


def test_shares_are_of_prompts_and_then_of_all():
    """Two wins and two ties for one prompt and a loss for the other give 25, 25 and 50."""
    won = pd.Series([1, 1, 0, 0, -1], ["a", "a", "a", "a", "b"])
    row = tally(won, 100, 0)
    assert (row["win"], row["tie"], row["loss"], row["n"]) == (25.0, 25.0, 50.0, 2)
    assert (row["low"], row["high"]) == (-100.0, 50.0)


def measure(prompts, **changes):
    """Measures {prompt: [(rank, judgement or judgements), ...]}; a number n means `Score: n`."""
    responses, judgements = [], []
    for prompt, ranked in prompts.items():
        for number, (rank, texts) in enumerate(ranked):
            name = f"{prompt}-r{number}"
            responses.append({"prompt_id": prompt, "response_id": name, "rank": rank})
            texts = texts if isinstance(texts, list) else [texts]
            judgements += [
                {
                    "response_id": name,
                    "k": k,
                    "attempt": 0,
                    "text": text if isinstance(text, str) else f"So. Score: {text}",
                    "finish": "stop",
                    "model": "m1",
                }
                for k, text in enumerate(texts)
            ]
    columns = ["response_id", "k", "attempt", "text", "finish", "model"]
    eft_eval = pd.DataFrame(responses, columns=["prompt_id", "response_id", "rank"])
    return (
        measure_reward_modelling(eft_eval, pd.DataFrame(judgements, columns=columns))
        .iloc[0]
        .to_dict()
    )


def test_a_judge_that_agrees_with_people_has_full_marks():
    """Rank 0 is the best and has the highest score."""
    row = measure({"a": [(1, 3), (0, 5), (2, 1)], "b": [(0, 5), (1, 0)]})
    assert {name: row[name] for name in METRICS} == pytest.approx(
        {
            "pairwise_accuracy": 100,
            "five_best": 100,
            "exact_match": 100,
            "spearman": 1,
            "kendall": 1,
        }
    )
    assert (row["model"], row["n"], row["pairs"], row["fives"]) == ("m1", 2, 4, 2)


def test_figures_by_hand():
    """Ranks 0 1 2 with scores 4 5 1: two of three pairs, no exact order, tau 1/3, rho 1/2."""
    row = measure({"a": [(0, 4), (1, 5), (2, 1)]})
    assert row["pairwise_accuracy"] == pytest.approx(200 / 3)
    assert row["exact_match"] == 0
    assert row["five_best"] == 0
    assert row["kendall"] == pytest.approx(1 / 3)
    assert row["spearman"] == pytest.approx(1 / 2)


def test_five_best_is_the_share_of_fives_that_people_liked_best():
    """Two of three fives have the first rank. A mean below 5 is no five."""
    row = measure({"a": [(0, 5), (1, 5)], "b": [(0, 5), (1, [5, 4])]})
    assert row["five_best"] == pytest.approx(200 / 3)
    assert pd.isna(measure({"a": [(0, 4), (1, 3)]})["five_best"])


def test_a_tie_in_score_is_wrong_and_counted():
    """Equal scores give no order. The prompt's correlations are 0."""
    row = measure({"a": [(0, 4), (1, 4)], "b": [(0, 4), (1, 2)]})
    assert (row["pairwise_accuracy"], row["exact_match"]) == (50, 50)
    assert (row["spearman"], row["kendall"]) == pytest.approx((0.5, 0.5))
    assert (row["tied_pairs"], row["unordered_prompts"]) == (1, 1)


def test_a_missing_score_is_wrong_and_counted():
    """A judge gains nothing by giving no score."""
    row = measure({"a": [(0, UNPARSED), (1, 1)], "b": [(0, 4), (1, 2), (2, UNPARSED)]})
    assert row["pairwise_accuracy"] == 25
    assert row["exact_match"] == 0
    assert (row["unscored_pairs"], row["unscored_responses"]) == (3, 2)
    assert row["kendall"] == pytest.approx(0.5)
    assert row["parse_rate"] == pytest.approx(3 / 5)


def test_the_score_is_the_mean_of_the_parsed_judgements():
    """(5 + 4) / 2 is above 4. A judgement without a score does not enter the mean."""
    row = measure({"a": [(0, [5, 4, UNPARSED]), (1, [4, 4, 4])]})
    assert row["pairwise_accuracy"] == 100
    assert row["unscored_responses"] == 0


def test_responses_that_people_rank_alike_are_not_asked_for_an_order():
    """Their scores do not matter. A prompt with only one rank is left out."""
    row = measure({"a": [(0, 5), (1, 2), (1, 3)], "b": [(0, 1), (0, 5)]})
    assert (row["pairwise_accuracy"], row["exact_match"], row["n"]) == (100, 100, 1)
    assert row["pairs"] == 2


def test_the_order_of_addition_makes_no_order():
    """Equal judgements in another order are a tie."""
    row = measure({"a": [(0, [4.1, 4.2, 4.6]), (1, [4.6, 4.2, 4.1])]})
    assert row["tied_pairs"] == 1


def test_nothing_held_back_gives_no_figures():
    """Without an EFT eval split, n is 0 and nothing fails."""
    row = measure({})
    assert row["n"] == 0
    assert pd.Series({name: row[name] for name in METRICS}).isna().all()
