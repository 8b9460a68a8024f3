"""Tables validated against the suites that ship with the project."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from srlm_kedro.errors import InputError
from srlm_kedro.validation.validate import metrics_table, validate

CONF = Path(__file__).parents[3] / "conf" / "base" / "expectations"
METRICS = {"judge/parse_rate": 0.97, "judge/saturation": 0.3, "judge/judged_share": 1.0}


def shipped(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONF / f"{name}.yml").read_text("utf-8"))


def judged(rewards: list[float | None], tokens: int = 12) -> pd.DataFrame:
    ids = [f"m2-p{i // 4:04d}" for i in range(len(rewards))]
    return pd.DataFrame(
        {
            "prompt_id": ids,
            "response_id": [f"{prompt}-r{i % 4}" for i, prompt in enumerate(ids)],
            "response": "juice , hat .",
            "tokens": tokens,
            "reward": pd.Series(rewards, dtype=float),
        }
    )


HEALTHY = judged([2.0, 3.5, 5.0, 4.0] * 10)
BEFORE = {"judge/mean_reward": 3.4, "judge/mean_tokens": 11.0}


def check(
    table: pd.DataFrame, metrics: dict[str, float] = METRICS, before: dict[str, float] = BEFORE
) -> dict[str, Any]:
    tables = {"judged_responses": table, "metrics": metrics_table(metrics)}
    return validate("judged", tables, shipped("judged"), before)


def broken(result: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (item["severity"], item["description"])
        for item in result["results"]
        if item["success"] is False
    }


def test_healthy_rewards_pass_every_expectation() -> None:
    """Nothing fails, nothing is skipped, and the result is plain JSON."""
    result = check(HEALTHY)
    assert broken(result) == set()
    assert result["success"] is True
    assert (result["failed_critical"], result["failed_warning"], result["skipped"]) == (0, 0, 0)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_results_have_the_order_of_the_suite() -> None:
    """Each result belongs to the entry at the same position."""
    entries = [entry for table in shipped("judged").values() for entry in table]
    results = check(HEALTHY)["results"]
    assert [item["description"] for item in results] == [e["description"] for e in entries]


@pytest.mark.parametrize(
    ("table", "metrics", "what"),
    [
        (judged([4.0] * 40), METRICS, "spread of the rewards (a collapsed judge)"),
        (judged([4.0, 7.0] * 20), METRICS, "range of the rewards"),
        (judged([None, None, 2.0, 4.0, None] * 8), METRICS, "responses with a reward"),
        (judged([]), METRICS, "number of judged responses"),
        (judged([0.0, 0.5, 1.0, 1.5] * 10), METRICS, "mean reward against the iteration before"),
        (
            judged([2.0, 3.5, 5.0, 4.0] * 10, tokens=70),
            METRICS,
            "response length in tokens against the iteration before",
        ),
        (HEALTHY, METRICS | {"judge/parse_rate": 0.3}, "share of judgements with a score"),
        (
            HEALTHY,
            METRICS | {"judge/judged_share": 0.4},
            "share of responses that are neither cut nor empty",
        ),
        (
            HEALTHY,
            METRICS | {"judge/saturation": 0.99},
            "share of responses at the top score (saturation)",
        ),
    ],
)
def test_each_kind_of_collapse_is_critical(
    table: pd.DataFrame, metrics: dict[str, float], what: str
) -> None:
    """A broken judge or a rambling model gives a critical failure with its own description."""
    result = check(table, metrics)
    assert ("critical", what) in broken(result)
    assert result["success"] is False


def test_a_milder_form_is_a_warning() -> None:
    """A wide drift of the mean warns, and the result is still a success."""
    result = check(HEALTHY, before=BEFORE | {"judge/mean_reward": 2.5})
    assert broken(result) == {("warning", "mean reward against the iteration before")}
    assert result["success"] is True


def test_the_first_iteration_skips_what_needs_an_earlier_one() -> None:
    """Expectations on drift and growth are skipped and say why; the others are evaluated."""
    result = check(HEALTHY, before={})
    skipped = [item for item in result["results"] if item["success"] is None]
    assert result["skipped"] == len(skipped) == 4
    assert {item["error"] for item in skipped} == {"there is no iteration before to compare with"}
    assert result["success"] is True


@pytest.mark.parametrize(
    "metrics", [{"judge/saturation": 0.2}, METRICS | {"judge/parse_rate": np.nan}]
)
def test_a_number_that_is_missing_fails(metrics: dict[str, float]) -> None:
    """Great Expectations lets a missing number pass; here it does not."""
    result = check(HEALTHY, metrics)
    assert ("critical", "share of judgements with a score") in broken(result)
    assert any("judge/parse_rate" in (item["error"] or "") for item in result["results"])


def test_a_limit_from_the_iteration_before_is_recorded_as_a_number() -> None:
    """The result shows the limit as a number, not its formula."""
    limits = [i["limits"] for i in check(HEALTHY)["results"] if "mean reward" in i["description"]]
    assert limits[0]["min_value"] == pytest.approx(1.4)


def test_an_expectation_that_does_not_exist_is_refused() -> None:
    """Great Expectations would log it and go on; here the error names all such faults."""
    base = {"severity": "critical", "description": "d", "kwargs": {"column": "reward"}}
    suite = {
        "judged_responses": [
            {**base, "type": "expect_miracles"},
            {**base, "type": "expect_column_mean_to_be_between", "kwargs": {"colum": "reward"}},
        ]
    }
    with pytest.raises(InputError, match="not what Great Expectations knows") as caught:
        validate("judged", {"judged_responses": HEALTHY}, suite, {})
    assert "expect_miracles" in str(caught.value)
    assert "colum" in str(caught.value)


def test_a_table_that_does_not_exist_is_refused() -> None:
    """The message names the existing tables."""
    with pytest.raises(InputError, match=r"no table 'responses'\. The tables are judged_responses"):
        validate("judged", {"judged_responses": HEALTHY}, {"responses": []}, {})


def test_seed_data_with_doubled_ids_is_refused_by_the_shipped_suite() -> None:
    """Doubled ids are critical; sound seed data passes."""
    ift = pd.DataFrame({"prompt_id": ["a", "b"], "prompt": ["x", "y"], "response": ["1", "2"]})
    ranked = pd.DataFrame(
        {"prompt_id": ["c", "c"], "response_id": ["c-0", "c-1"], "rank": [0, 1], "response": "z"}
    )
    suite = shipped("seed")
    assert validate("seed", {"ift": ift, "eft_ranked": ranked}, suite, {})["success"]
    doubled = ift.assign(prompt_id="a")
    result = validate("seed", {"ift": doubled, "eft_ranked": ranked}, suite, {})
    assert broken(result) == {("critical", "ids of IFT prompts are used once")}
