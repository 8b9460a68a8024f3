"""The checks: first the results, then the gate."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.checks import create_pipeline, create_seed_pipeline
from srlm_kedro.pipelines.checks.nodes import check_judged, check_pairs, document_checks, gate
from srlm_kedro.records import Checkpoint

CONF = Path(__file__).parents[3] / "conf" / "base" / "expectations"
POLICY = Checkpoint(Path("m1"), "m1")
PASSED: dict[str, Any] = {
    "name": "judged",
    "success": True,
    "failed_critical": 0,
    "failed_warning": 0,
    "skipped": 0,
    "results": [],
}
OPEN = {"checked": True}
PAIRS = pd.DataFrame(
    {
        "prompt_id": [f"m2-p{i:04d}" for i in range(50)],
        "chosen": "yes .",
        "rejected": "no .",
        "chosen_id": [f"m2-p{i:04d}-r0" for i in range(50)],
        "rejected_id": [f"m2-p{i:04d}-r1" for i in range(50)],
        "chosen_reward": 4.5,
        "rejected_reward": 2.0,
    }
)


def checked(pairs: pd.DataFrame, pair_yield: float = 0.6) -> dict[str, Any]:
    suite = yaml.safe_load((CONF / "pairs.yml").read_text("utf-8"))
    return check_pairs(pairs, {"pairs/yield": pair_yield}, suite)


def test_sound_pairs_open_the_gate_with_a_word_that_never_changes() -> None:
    """The result of the gate does not depend on the numbers, so a new limit remakes no training."""
    assert gate(POLICY, PASSED, checked(PAIRS), "", OPEN, {}) == {"checked": True}
    assert gate(POLICY, PASSED, checked(PAIRS, 0.1), "", OPEN, {}) == {"checked": True}


def test_pairs_without_a_margin_stop_the_run_with_what_where_and_why() -> None:
    """The message names the model, the rule, the share of rows, an example and the place."""
    tied = PAIRS.copy()
    tied.loc[:9, "rejected_reward"] = 4.5
    with pytest.raises(GateError) as caught:
        gate(POLICY, PASSED, checked(tied), "", OPEN, {})
    message = str(caught.value)
    assert message.startswith("m2: 1 critical expectation failed, so m2 is not trained.")
    assert "pairs: chosen reward above rejected reward: 10 of 50 rows break it (20.0%)" in message
    assert "read m2.data_docs." in message


def test_what_was_not_judged_is_no_missing_reward() -> None:
    """There is a rule for dropped responses; the rules for rewards see only judged ones."""
    rows = [(f"m2-p{i // 4}", f"m2-p{i // 4}-r{i % 4}", 9, float(i % 4), "ok") for i in range(40)]
    columns = ["prompt_id", "response_id", "tokens", "reward", "reason"]
    table = pd.DataFrame(rows, columns=columns)
    table.loc[table.index % 4 > 1, ["reward", "reason"]] = [float("nan"), "cut"]
    suite = yaml.safe_load((CONF / "judged.yml").read_text("utf-8"))
    metrics = {"judge/judged_share": 0.5, "judge/parse_rate": 1.0, "judge/saturation": 0.0}
    result = check_judged(table, metrics, {}, suite)
    failed = [item["description"] for item in result["results"] if item["success"] is False]
    assert failed == ["share of responses that are neither cut nor empty"]


def test_an_empty_table_of_pairs_stops_the_run() -> None:
    """Without pairs nothing is trained."""
    with pytest.raises(GateError, match=r"number of pairs: 0 \(limit at least 1\)"):
        gate(POLICY, PASSED, checked(PAIRS.head(0)), "", OPEN, {})


def test_warnings_are_logged_and_become_metrics(caplog: pytest.LogCaptureFixture) -> None:
    """A low yield passes the gate, one line is logged, and the count is a metric."""
    result = checked(PAIRS, pair_yield=0.1)
    with caplog.at_level(logging.WARNING):
        _, metrics = document_checks(POLICY, PASSED, result)
    assert metrics["validation/pairs_failed_warning"] == 1
    assert metrics["validation/judged_failed_critical"] == 0
    assert metrics["validation/pairs_table_row_count"] == 50
    assert "m2, pairs: pairs made from each prompt: 0.1 (limit at least 0.2)." in caplog.text


def test_the_page_escapes_what_a_model_wrote_and_calls_nobody() -> None:
    """Model text is escaped, and the page has no address."""
    evil = "<script>alert(1)</script>"
    doubled = PAIRS.assign(chosen_id=evil, rejected_id=evil)
    page, _ = document_checks(POLICY, PASSED, checked(doubled))
    assert "1 critical failed" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "://" not in page


def test_the_gate_waits_for_everything() -> None:
    """Results, page and contamination check come before the gate can fall, in both pipelines;

    before training also the word of the guard over the policy, and that all seed data fits M0.
    """
    assert "policy_checked" in create_pipeline().nodes[-1].inputs
    for pipeline, last in [(create_pipeline(), "gate"), (create_seed_pipeline(), "gate_seed")]:
        assert pipeline.nodes[-1].name == last
        assert {"data_docs", "contamination_checked"} <= set(pipeline.nodes[-1].inputs)
    assert "lengths_checked" in create_seed_pipeline().nodes[-1].inputs
