"""Validates tables against expectation suites with Great Expectations, offline and in memory."""

import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError, summary
from srlm_kedro.validation.suite import Entry, read_suite, suite_parameters

Result = dict[str, Any]
"""A validation result as JSON types: `name`, `success`, counts, and `results`, one per entry."""

_EXAMPLES = 5
_LONGEST = 200
"""Characters of a value that breaks a rule, or of an error of Great Expectations."""
_NOT_LIMITS = ("column", "column_A", "column_B", "column_list", "batch_id")
_NO_PREVIOUS = "there is no iteration before to compare with"


def validate(
    name: str,
    tables: Mapping[str, pd.DataFrame],
    suite: Mapping[str, Any],
    previous: Mapping[str, float | None],
) -> Result:
    """Validates each table against its part of the suite.

    Args:
        name: The suite's name (`judged`): its YAML is `expectations/<name>.yml`.
        tables: The tables by the names that the suite uses.
        suite: Expectations by table name; see `suite.Entry`.
        previous: Metrics of the iteration before. An entry that needs a missing one is skipped.

    Returns:
        The result; `success` is false if a critical expectation failed.

    Raises:
        InputError: The suite names an unknown table, expectation or argument.
    """
    place = f"conf/base/expectations/{name}.yml"
    typed = read_suite(suite, place)
    if unknown := sorted(set(typed) - set(tables)):
        raise InputError(f"{place}: no table {unknown[0]!r}. The tables are {', '.join(tables)}.")
    parameters = suite_parameters(previous)
    results = [
        outcome
        for table, entries in typed.items()
        for outcome in _validate_table(place, table, tables[table], entries, parameters)
    ]
    failed = [item["severity"] for item in results if item["success"] is False]
    return {
        "name": name,
        "success": "critical" not in failed,
        "failed_critical": failed.count("critical"),
        "failed_warning": failed.count("warning"),
        "skipped": sum(item["success"] is None for item in results),
        "results": results,
    }


def refuse_unknown(suite: Mapping[str, Any], place: str) -> None:
    """Checks without any table whether Great Expectations knows what a suite names.

    Raises:
        InputError: The suite names an unknown expectation or argument, or is no suite.
    """
    _great_expectations()
    faults = []
    for table, entries in read_suite(suite, place).items():
        try:
            _build(f"{place}, {table}", dict(enumerate(entries)))
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))


def metrics_table(metrics: Mapping[str, float | None]) -> pd.DataFrame:
    """One row with one column per metric, so that expectations can check metrics of a table."""
    return pd.DataFrame({key: [math.nan if v is None else v] for key, v in metrics.items()})


def _validate_table(
    place: str,
    table: str,
    frame: pd.DataFrame,
    entries: Sequence[Entry],
    parameters: Mapping[str, float],
) -> list[Result]:
    lacking = {i: _lacking(entry, frame) for i, entry in enumerate(entries)}
    skipped = {i for i, entry in enumerate(entries) if not entry.needs <= set(parameters)}
    runnable = {i: entry for i, entry in enumerate(entries) if not lacking[i] and i not in skipped}
    evaluated = _evaluate(f"{place}, {table}", frame, runnable, parameters)
    return [
        _outcome(table, entry, frame, evaluated.get(i), lacking[i] if i not in skipped else None)
        for i, entry in enumerate(entries)
    ]


def _lacking(entry: Entry, frame: pd.DataFrame) -> str | None:
    """Why an entry cannot be checked: its column is missing or holds nothing.

    Great Expectations lets such a column pass; here it is a failure.
    """
    keys = ("column", "column_A", "column_B")
    columns = [entry.kwargs[key] for key in keys if key in entry.kwargs]
    columns += entry.kwargs.get("column_list", [])
    for column in columns:
        if column not in frame.columns:
            return f"there is no column {column}"
        if len(frame) == 1 and frame[column].isna().all():
            return f"{column} holds no number"
    return None


def _evaluate(
    place: str, frame: pd.DataFrame, entries: Mapping[int, Entry], parameters: Mapping[str, float]
) -> dict[int, dict[str, Any]]:
    if not entries:
        return {}
    gx = _great_expectations()
    suite = gx.ExpectationSuite(name=place, expectations=_build(place, entries))
    source = _quiet_context(gx).data_sources.add_pandas("tables")
    definition = source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("whole")
    checked = definition.get_batch({"dataframe": frame}).validate(
        suite, expectation_parameters=dict(parameters), result_format="SUMMARY"
    )
    found = [result.to_json_dict() for result in checked.results]
    # Great Expectations changes the order of the results: errors come first.
    return {item["expectation_config"]["meta"]["position"]: item for item in found}


def _build(place: str, entries: Mapping[int, Entry]) -> list[Any]:
    """The expectations, built one by one: a suite would only log a faulty one and skip it."""
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )

    built, faults = [], []
    for position, entry in entries.items():
        try:
            configuration = ExpectationConfiguration(
                type=entry.type,
                kwargs=dict(entry.kwargs),
                severity=entry.severity,
                meta={"position": position},
            )
            built.append(configuration.to_domain_obj())
        except (GreatExpectationsError, ValueError, TypeError) as error:
            faults.append(f"{entry.type} ({entry.description}): {' '.join(str(error).split())}")
    if faults:
        raise InputError(summary(f"{place}: not what Great Expectations knows.", faults))
    return built


def _quiet_context(gx: Any) -> Any:
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # It logs scratch folders for pages that nobody asked for, at a level that it sets itself.
    logging.getLogger(ProgressBarsConfig.__module__).setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def _great_expectations() -> Any:
    """The library, imported at first use because that takes seconds and gives warnings."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations
    return great_expectations


def _outcome(
    table: str,
    entry: Entry,
    frame: pd.DataFrame,
    evaluated: Mapping[str, Any] | None,
    lacking: str | None,
) -> Result:
    """One entry of the result; `success` is None if the expectation was skipped."""
    found = evaluated["result"] if evaluated else {}
    kwargs = evaluated["expectation_config"]["kwargs"] if evaluated else entry.kwargs
    error = lacking or (_exception(evaluated["exception_info"]) if evaluated else None)
    column = entry.kwargs.get("column")
    broken = found.get("partial_unexpected_list", [])
    whole = len(frame) == 1 and column in frame.columns
    return {
        "table": table,
        "type": entry.type,
        "column": column,
        "severity": entry.severity,
        "description": entry.description,
        "notes": entry.notes,
        "limits": {key: value for key, value in kwargs.items() if key not in _NOT_LIMITS},
        "success": evaluated["success"] if evaluated else (False if lacking else None),
        "observed": _number(frame[column].iloc[0] if whole else found.get("observed_value")),
        "rows": found.get("element_count"),
        "unexpected": found.get("unexpected_count"),
        "examples": [one_line(str(value), _LONGEST) for value in broken[:_EXAMPLES]],
        "error": error if evaluated or lacking else _NO_PREVIOUS,
    }


def _exception(info: Mapping[str, Any]) -> str | None:
    """The message of the first exception; there is one per metric if several were raised."""
    single = [info] if "raised_exception" in info else list(info.values())
    messages = (item["exception_message"] for item in single if item["raised_exception"])
    return next((one_line(message, _LONGEST) for message in messages), None)


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
