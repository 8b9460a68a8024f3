"""Describes validation results in words: what failed, the limit, what was found, what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

from srlm_kedro.errors import GateError, summary


def gate_message(model: str, results: Sequence[Mapping[str, Any]], place: str) -> str | None:
    """The message if a critical expectation failed, else None.

    Args:
        model: The model that is trained next (`m2`).
        results: Validation results, as `validate` returns them.
        place: Where the validated tables are.
    """
    failed = [(result["name"], item) for result in results for item in _failed(result, "critical")]
    if not failed:
        return None
    heading = (
        f"{model}: {len(failed)} critical {'expectation' if len(failed) == 1 else 'expectations'} "
        f"failed, so {model} is not trained. All tables stay as they are: read {place}."
    )
    return summary(heading, [f"{name}: {in_words(item)}" for name, item in failed])


def refuse_critical(model: str, results: Sequence[Mapping[str, Any]], place: str) -> None:
    """Raises GateError if a critical expectation failed."""
    if message := gate_message(model, results, place):
        raise GateError(message)


def warning_lines(result: Mapping[str, Any]) -> list[str]:
    """One line per failed warning."""
    return [in_words(item) for item in _failed(result, "warning")]


def in_words(item: Mapping[str, Any]) -> str:
    """One failed expectation: what is checked, what was found, its limit, what to do."""
    text = f"{item['description']}: {found_in_words(item)}"
    limit = limits_in_words(item["limits"])
    return " ".join(filter(None, [f"{text} ({limit})." if limit else f"{text}.", item["notes"]]))


def found_in_words(item: Mapping[str, Any]) -> str:
    """What was found: the error, the number, or the rows that break the rule."""
    if item["error"]:
        return item["error"]
    if item["observed"] is not None:
        return f"{item['observed']:.4g}"
    if not item["rows"]:
        return "no value"
    broken = item["unexpected"]
    first = f", first: {item['examples'][0]}" if item["examples"] else ""
    return f"{broken} of {item['rows']} rows break it ({broken / item['rows']:.1%}){first}"


def limits_in_words(limits: Mapping[str, Any]) -> str:
    """`limit 0.1 to 0.9`, `limit at least 1 in 90% of rows`, or nothing."""
    low, high = _limit(limits.get("min_value")), _limit(limits.get("max_value"))
    bounds = {
        (True, True): f"limit {low} to {high}",
        (True, False): f"limit at least {low}",
        (False, True): f"limit at most {high}",
    }.get((low is not None, high is not None), "")
    mostly = limits.get("mostly")
    share = f"in at least {mostly:.0%} of rows" if isinstance(mostly, int | float) else ""
    return " ".join(filter(None, [bounds, share]))


def _limit(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return str(value.get("$PARAMETER"))
    return f"{value:.4g}" if isinstance(value, int | float) else None


def _failed(result: Mapping[str, Any], severity: str) -> list[Mapping[str, Any]]:
    return [
        item
        for item in result["results"]
        if item["success"] is False and item["severity"] == severity
    ]
