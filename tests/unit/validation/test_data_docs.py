"""Text of a model can break an expectation; the page and the log show it as data."""

import logging

import pandas as pd
import pytest

from srlm_kedro.pipelines.checks.nodes import document_checks
from srlm_kedro.records import Checkpoint
from srlm_kedro.validation.data_docs import build_data_docs
from srlm_kedro.validation.validate import validate
from srlm_kedro.validation.wording import gate_message, warning_lines
from tests.hostile import HOSTILE, SOUND, Skeleton, is_harmless

POLICY = Checkpoint("m1", "m1")
ENTRY = {
    "type": "expect_column_values_to_be_in_set",
    "kwargs": {"column": "response", "value_set": ["fine"]},
    "description": "responses",
}


def broken(texts, severity="critical"):
    table = pd.DataFrame({"response": texts})
    return validate("judged", {"t": table}, {"t": [{**ENTRY, "severity": severity}]}, {})


def spoilt(result, text):
    """The result with `text` in every place of a value of the table."""
    item = {**result["results"][0], "examples": [text], "description": text, "error": text}
    return {**result, "results": [item]}


@pytest.fixture(scope="module")
def result():
    return broken(["plain", "fine"])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_page_takes_no_markup_from_a_value(result, text):
    """The page has the same elements as for plain text."""
    made = build_data_docs("Data Docs: m2", [spoilt(result, text or "-")])
    plain = build_data_docs("Data Docs: m2", [spoilt(result, "plain")])
    assert Skeleton(made).elements == Skeleton(plain).elements
    assert made.isascii()
    assert is_harmless(made)


def test_values_that_break_a_rule_are_quoted_on_one_line(caplog):
    """Result, refusal and log show at most five of them, and cut long ones."""
    texts = list(SOUND.values())
    for start in range(0, len(texts), 5):
        held = broken([*texts[start : start + 5], "fine"], "warning")
        critical = {**held["results"][0], "severity": "critical"}
        message = gate_message("m2", [{**held, "results": [critical]}], "m2.data_docs")
        with caplog.at_level(logging.WARNING):
            document_checks(POLICY, held, held)
        lines = [*held["results"][0]["examples"], *warning_lines(held), message.split("\n")[1]]
        for line in [*lines, *(record.getMessage() for record in caplog.records)]:
            assert is_harmless(line)
            assert "\n" not in line
            assert "\t" not in line
            assert len(line) < 1000
