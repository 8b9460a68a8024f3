"""The judge prompt: a reviewable text file with two places to fill."""

import hashlib
import re
from collections.abc import Iterable, Mapping

from srlm_kedro.errors import InputError, summary

INSTRUCTION = "{instruction}"
RESPONSE = "{response}"


def check_judge_prompt(template: str) -> str:
    """The template itself, when both places stand in it once and it asks for a score.

    Paper: section 2.2 and figure 2; the judge is told to conclude with `Score: <total points>`.

    Raises:
        InputError: All faults of the template.
    """
    faults = placeholder_faults(template, (INSTRUCTION, RESPONSE))
    if not re.search(r"\bscore\b", template, re.IGNORECASE):
        faults.append("it never asks for a `Score:`, so no judgement could be read")
    if faults:
        raise InputError(summary(f"judge prompt: {len(faults)} faults.", faults))
    return template


def placeholder_faults(template: str, places: Iterable[str]) -> list[str]:
    """A line for each place that does not stand in the template exactly once."""
    counts = {place: template.count(place) for place in places}
    return [
        f"{place} must stand in it once, found {count} times"
        for place, count in counts.items()
        if count != 1
    ]


def fill_judge_prompt(template: str, instruction: str, response: str) -> str:
    """The prompt for one response; what stands in instruction and response stays as it is."""
    return fill(template, {INSTRUCTION: instruction, RESPONSE: response})


def fill(template: str, values: Mapping[str, str]) -> str:
    """Puts every value into its place in one pass, so that no value is read as a template."""
    places = re.compile("|".join(re.escape(place) for place in values))
    return places.sub(lambda found: values[found[0]], template)


def prompt_version(template: str) -> str:
    """The first 12 digits of the template's sha256: the version to log beside its results."""
    return hashlib.sha256(template.encode()).hexdigest()[:12]
