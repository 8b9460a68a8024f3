"""The judge prompt: a text file that people can review, with two placeholders to fill.

Put each placeholder between tags, such as `<response>` and `</response>` or `[Answer]` and `[End of
answer]`. A response that contains one of these tags could end its place early, and the rest of it
would look to the judge like a part of the rubric. So the first character of such a tag is escaped
in the response, as in HTML: `&lt;/response>`. All other text stays the same, byte for byte.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from srlm_kedro.errors import InputError, summary

INSTRUCTION = "{instruction}"
RESPONSE = "{response}"

_TAG = r"(<[^<>\n]+>|\[[^\[\]\n]+\])"
_ESCAPES = {"<": "&lt;", "[": "&#91;"}


def check_judge_prompt(template: str) -> str:
    """The template itself, if it has both placeholders once and asks for a score.

    Paper: section 2.2 and figure 2. The prompt tells the judge to end with `Score: <total points>`.

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
    """One line for each placeholder that is not in the template exactly once."""
    counts = {place: template.count(place) for place in places}
    return [
        f"{place} must appear in it once, found {count} times"
        for place, count in counts.items()
        if count != 1
    ]


def fill_judge_prompt(template: str, instruction: str, response: str) -> str:
    """The prompt for one response."""
    return fill(template, {INSTRUCTION: instruction, RESPONSE: response})


def is_escaped(template: str, instruction: str, response: str) -> bool:
    """Whether the instruction or the response contains a tag of the template, which is escaped."""
    tags = _tags(template, (INSTRUCTION, RESPONSE))
    return tags is not None and any(tags.search(text) for text in (instruction, response))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replaces every placeholder in one pass, so that no value is read as a template.

    In the values, the tags next to the placeholders are escaped.
    """
    tags = _tags(template, tuple(values))
    held = values if tags is None else {place: _escaped(values[place], tags) for place in values}
    places = re.compile("|".join(re.escape(place) for place in values))
    return places.sub(lambda found: held[found[0]], template)


def _escaped(text: str, tags: re.Pattern[str]) -> str:
    return tags.sub(lambda found: _ESCAPES[found[0]], text)


@lru_cache(maxsize=16)
def _tags(template: str, places: tuple[str, ...]) -> re.Pattern[str] | None:
    """The pattern that finds the tags next to the placeholders; None if there are no tags."""
    found = [
        tag
        for place in places
        for pattern in (rf"{_TAG}\s*{re.escape(place)}", rf"{re.escape(place)}\s*{_TAG}")
        for tag in re.findall(pattern, template)
    ]
    return re.compile("|".join(map(_tag, sorted(set(found)))), re.IGNORECASE) if found else None


def _tag(tag: str) -> str:
    """A pattern for the first character of the tag, in any spacing, opening or closing."""
    words = r"\s++".join(map(re.escape, re.findall(r"[^\s<>\[\]/]+", tag)))
    if tag.startswith("["):
        return rf"\[(?=\s*+{words}\s*+\])"
    return rf"<(?=\s*+/?\s*+{words}\s*+(?:(?<=\s)[^<>]*+)?/?>)"


def prompt_version(template: str) -> str:
    """The version of a template to log with its results: the first 12 digits of its SHA-256."""
    return hashlib.sha256(template.encode()).hexdigest()[:12]
