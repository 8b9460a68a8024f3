"""Validation of tables by Great Expectations, and the gates before training.

One node writes the results and a later one applies the limits, so the results are on disk when a
gate stops a run. The limits are in conf/base/expectations, where a review sees their changes.
"""

import logging
from typing import Any

import pandas as pd

from srlm_kedro.records import Checkpoint
from srlm_kedro.validation.data_docs import build_data_docs
from srlm_kedro.validation.validate import metrics_table, validate
from srlm_kedro.validation.wording import refuse_critical, warning_lines

_log = logging.getLogger(__name__)


def check_seed(
    ift: pd.DataFrame, eft_ranked: pd.DataFrame, seed_suite: dict[str, Any]
) -> dict[str, Any]:
    """The validation result of the seed data."""
    return validate("seed", {"ift": ift, "eft_ranked": eft_ranked}, seed_suite, {})


def check_judged(
    judged_responses: pd.DataFrame,
    judge_metrics: dict[str, float],
    previous_judge_metrics: dict[str, float],
    judged_suite: dict[str, Any],
) -> dict[str, Any]:
    """The validation result of the rewards, compared also with the iteration before.

    Responses that were not judged are left out; the metric `judge/judged_share` counts them.
    """
    judged = judged_responses[judged_responses["reason"] == "ok"]
    tables = {"judged_responses": judged, "metrics": metrics_table(judge_metrics)}
    return validate("judged", tables, judged_suite, previous_judge_metrics)


def check_pairs(
    pairs: pd.DataFrame, pair_metrics: dict[str, float], pairs_suite: dict[str, Any]
) -> dict[str, Any]:
    """The validation result of the pairs."""
    tables = {"pairs": pairs, "metrics": metrics_table(pair_metrics)}
    return validate("pairs", tables, pairs_suite, {})


def document_checks(
    policy: Checkpoint, judged_validation: dict[str, Any], pairs_validation: dict[str, Any]
) -> tuple[str, dict[str, float]]:
    """The Data Docs page of an iteration's results, and their metrics; warnings are logged."""
    return _document(_following(policy), [judged_validation, pairs_validation])


def document_seed_checks(seed_validation: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """The Data Docs page of the seed data's result, and its metrics; warnings are logged."""
    return _document("seed data", [seed_validation])


def gate(
    policy: Checkpoint,
    judged_validation: dict[str, Any],
    pairs_validation: dict[str, Any],
    data_docs: str,  # an input so that the page is on disk before the gate stops a run
    contamination_checked: dict[str, bool],
    policy_checked: dict[str, bool],
) -> dict[str, bool]:
    """Accepts an iteration's pairs for training.

    Raises:
        GateError: A critical expectation failed; all tables and results stay on disk.
    """
    model = _following(policy)
    refuse_critical(model, [judged_validation, pairs_validation], f"{model}.data_docs")
    return {"checked": True}


def gate_seed(
    seed_validation: dict[str, Any],
    data_docs: str,
    contamination_checked: dict[str, bool],
    lengths_checked: dict[str, bool],
) -> dict[str, bool]:
    """Accepts the seed data for training.

    Raises:
        GateError: A critical expectation failed.
    """
    refuse_critical("m1", [seed_validation], "seed.data_docs")
    return {"checked": True}


def validation_metrics(result: dict[str, Any]) -> dict[str, float]:
    """Counts of failures, and the observed numbers, as `validation/<suite>_...`."""
    prefix = f"validation/{result['name']}"
    counts = {
        f"{prefix}_failed_critical": float(result["failed_critical"]),
        f"{prefix}_failed_warning": float(result["failed_warning"]),
        f"{prefix}_skipped": float(result["skipped"]),
    }
    observed = {
        f"{prefix}_{_short_name(item)}": item["observed"]
        for item in result["results"]
        # The numbers of the table `metrics` are metrics of another stage already.
        if item["observed"] is not None and item["table"] != "metrics"
    }
    return counts | observed


def _document(title: str, results: list[dict[str, Any]]) -> tuple[str, dict[str, float]]:
    for result in results:
        for line in warning_lines(result):
            _log.warning("%s, %s: %s", title, result["name"], line)
    counted = {name: n for result in results for name, n in validation_metrics(result).items()}
    return build_data_docs(f"Data Docs: {title}", results), counted


def _short_name(item: dict[str, Any]) -> str:
    """`expect_column_mean_to_be_between` on `reward` is `reward_mean`."""
    kind = item["type"].removeprefix("expect_").removeprefix("column_").partition("_to_be_")[0]
    return "_".join(filter(None, [item["column"], kind]))


def _following(policy: Checkpoint) -> str:
    """The name of the model that the policy becomes."""
    return f"m{policy.iteration + 1}"
