"""The judge prompt: a reviewable text file with two places to fill.

A place should stand between tags, `<response>` and `</response>` or `[Answer]` and `[End of
answer]`: a text that holds one of them would end its place, and what follows it would speak to the
judge in the rubric's name. There the tag's first character is written as HTML writes it,
`&lt;/response>`. All other texts stay as they are, byte for byte.
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
    """The prompt for one response."""
    return fill(template, {INSTRUCTION: instruction, RESPONSE: response})


def is_escaped(template: str, instruction: str, response: str) -> bool:
    """Whether instruction or response holds a tag of the template, which is escaped in it."""
    tags = _tags(template, (INSTRUCTION, RESPONSE))
    return tags is not None and any(tags.search(text) for text in (instruction, response))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Puts every value into its place in one pass, so that no value is read as a template.

    The tags next to the places are escaped in the values.
    """
    tags = _tags(template, tuple(values))
    held = values if tags is None else {place: _escaped(values[place], tags) for place in values}
    places = re.compile("|".join(re.escape(place) for place in values))
    return places.sub(lambda found: held[found[0]], template)


def _escaped(text: str, tags: re.Pattern[str]) -> str:
    return tags.sub(lambda found: _ESCAPES[found[0]], text)


@lru_cache(maxsize=16)
def _tags(template: str, places: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds the first character of a tag that stands next to a place; None: there is no tag."""
    found = [
        tag
        for place in places
        for pattern in (rf"{_TAG}\s*{re.escape(place)}", rf"{re.escape(place)}\s*{_TAG}")
        for tag in re.findall(pattern, template)
    ]
    return re.compile("|".join(map(_tag, sorted(set(found)))), re.IGNORECASE) if found else None


def _tag(tag: str) -> str:
    """The tag in any case and spacing, to open or to close, as a reader would take it."""
    words = r"\s++".join(map(re.escape, re.findall(r"[^\s<>\[\]/]+", tag)))
    if tag.startswith("["):
        return rf"\[(?=\s*+{words}\s*+\])"
    return rf"<(?=\s*+/?\s*+{words}\s*+(?:(?<=\s)[^<>]*+)?/?>)"


def prompt_version(template: str) -> str:
    """The first 12 digits of the template's sha256: the version to log beside its results."""
    return hashlib.sha256(template.encode()).hexdigest()[:12]
