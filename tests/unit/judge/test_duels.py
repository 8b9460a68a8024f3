"""Shares of wins, ties and losses, and the interval of their difference."""

import numpy as np
import pandas as pd
import pytest

from srlm_kedro.judge.statistics import bootstrap_interval, tally


def test_interval_is_as_wide_as_theory_says():
    """For a mean of many values it spans 1.96 standard errors to either side."""
    values = np.random.default_rng(0).normal(10, 2, 400)
    low, high = bootstrap_interval(values, 4000, 0)
    expected = 2 * 1.96 * values.std() / 20
    assert high - low == pytest.approx(expected, rel=0.08)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.03)


def test_a_single_prompt_has_no_width():
    """The bootstrap cannot know more than the data."""
    assert bootstrap_interval(np.array([50.0]), 100, 0) == (50.0, 50.0)


def test_shares_are_of_prompts_and_then_of_all():
    """Two wins and two ties on one prompt, a loss on the other: 25, 25 and 50."""
    won = pd.Series([1, 1, 0, 0, -1], ["a", "a", "a", "a", "b"])
    row = tally(won, 100, 0)
    assert (row["win"], row["tie"], row["loss"], row["n"]) == (25.0, 25.0, 50.0, 2)
    assert (row["low"], row["high"]) == (-100.0, 50.0)
