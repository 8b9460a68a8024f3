"""Expectation suites as YAML gives them."""

import pytest

from srlm_kedro.errors import InputError
from srlm_kedro.validation.suite import read_suite, suite_parameters

ENTRY = {
    "type": "expect_column_mean_to_be_between",
    "kwargs": {"column": "reward", "min_value": 1},
    "severity": "warning",
    "description": "mean reward",
}


def test_an_entry_names_the_earlier_numbers_that_it_needs() -> None:
    """Every `previous_` name in a limit's expression counts, and nothing else."""
    low = {"$PARAMETER": "previous_mean_reward - previous_std_reward * 2"}
    suite = read_suite({"t": [{**ENTRY, "kwargs": {"column": "a", "min_value": low}}]}, "x.yml")
    assert suite["t"][0].needs == {"previous_mean_reward", "previous_std_reward"}
    assert read_suite({"t": [ENTRY]}, "x.yml")["t"][0].needs == set()


def test_earlier_metrics_lose_their_section() -> None:
    """`judge/mean_reward` becomes `previous_mean_reward`; None is left out."""
    found = suite_parameters({"judge/mean_reward": 3, "judge/parse_rate": None})
    assert found == {"previous_mean_reward": 3.0}


def test_all_faults_of_a_suite_are_named_at_once() -> None:
    """One message names an unknown severity and an unknown key with their places."""
    wrong = [{**ENTRY, "severity": "fatal"}, {**ENTRY, "limit": 3}]
    with pytest.raises(InputError) as caught:
        read_suite({"judged_responses": wrong}, "judged.yml")
    message = str(caught.value)
    assert message.startswith("judged.yml: not an expectation suite.")
    assert "judged_responses / 0 / severity" in message
    assert "judged_responses / 1 / limit" in message


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"min_value": float("nan")}, "min_value = nan is no limit"),
        ({"max_value": float("inf")}, "max_value = inf is no limit"),
        ({"min_value": 3, "max_value": 2}, "min_value = 3 is above max_value = 2"),
        ({"mostly": 1.5}, "mostly = 1.5 is no share"),
    ],
)
def test_limits_that_nothing_can_keep_or_break_are_refused(kwargs, said) -> None:
    """NaN passes every comparison of a gate."""
    with pytest.raises(InputError, match=f"t / 0 / kwargs: {said}"):
        read_suite({"t": [{**ENTRY, "kwargs": {"column": "a", **kwargs}}]}, "x.yml")


def test_a_file_that_is_no_mapping_is_refused() -> None:
    """A list at the top names no table."""
    with pytest.raises(InputError, match="the whole: Input should be a valid dictionary"):
        read_suite([ENTRY], "x.yml")
