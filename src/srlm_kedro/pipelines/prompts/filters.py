"""The new prompt in a continuation, and the filters that refuse it.

Paper: section 2.2 (the filters of Self-Instruct) and appendix A.5.
"""

import re
import string
from collections.abc import Callable

from srlm_kedro.pipelines.prompts.novelty import Novelty, tokens
from srlm_kedro.pipelines.prompts.params import FilterParams

REASONS = {
    "no_room": "the demonstrations fill the writer's context",
    "cut_off": "the token limit ended them",
    "empty": "they have no words",
    "too_short": "they have fewer than `prompts.filters.min_words`",
    "too_long": "they have more than `prompts.filters.max_words`",
    "banned_word": "they hold one of `prompts.filters.banned_words`",
    "banned_opening": "they begin with one of `prompts.filters.banned_openings`",
    "bad_start": "they begin with a mark or with a character outside ASCII",
    "no_criteria": "the judge, which is asked by criteria, knows none that fit them",
    "held_out": "they are about what is kept for evaluation",
    "duplicate": "a known prompt has the same words",
    "similar": "a known prompt is too much like them",
    "surplus": "enough prompts were accepted before them",
}
"""Why a written prompt is refused, and what that means. `nodes.py` says `surplus`."""
BY_CRITERIA = ("no_criteria", "held_out")
"""Reasons that only a judge by criteria has."""

# A continuation may be very long. Repetitions are possessive, and a match starts only at the first
# character of a run of blanks or marks, so that the time is linear in its length.
_WORDED = r"(?:task|instruction|prompt|question)\s*+\d{0,3}+\s*+[:.)]"
_ITEM = rf"(?:{_WORDED}|\d{{1,3}}[.)]\s)"
_MARKS = r"[*_#\s]*+"
_PREFACE = re.compile(r"\s*(?:sure|here|okay|of course|certainly)\b[^\n]*:\s*\n", re.IGNORECASE)
_LABEL = re.compile(rf"{_MARKS}{_ITEM}[*_\s]*+", re.IGNORECASE)
_NEXT = re.compile(
    rf"""(?<![*_#\s])(?>(?:[*_#]|[^\S\n])*)(?P<line>\n){_MARKS}
         (?:{_ITEM}|(?:answer|response|output|solution)\s*+:)
       | \btask\s++\d{{1,3}}+\s*+:""",
    re.IGNORECASE | re.VERBOSE,
)


def first_task(continuation: str) -> tuple[str, bool]:
    """The first task of a continuation, and True if something follows it.

    Paper: appendix A.5; a chat model that writes prompts may list several tasks and answer them.
    """
    preface = _PREFACE.match(continuation)
    rest = continuation[preface.end() :] if preface else continuation
    label = _LABEL.match(rest)
    rest = rest[label.end() :] if label else rest
    following = _NEXT.search(rest)
    task = rest[: following.start(following.lastgroup or 0)] if following else rest
    return task.strip(), following is not None


class Filters:
    """Accepts new prompts that pass all filters, and remembers them as known prompts."""

    def __init__(
        self,
        filters: FilterParams,
        novelty: Novelty,
        rubric_fault: Callable[[str], str | None] = lambda prompt: None,
    ) -> None:
        """Sets the rules.

        Args:
            filters: The limits.
            novelty: The known prompts.
            rubric_fault: Why the judge's rubric refuses a prompt.
        """
        self._filters = filters
        self._rubric_fault = rubric_fault
        self._novelty = novelty
        words = "|".join(re.escape(word) for word in filters.banned_words)
        self._banned = re.compile(rf"\b(?:{words})\b", re.IGNORECASE) if words else None
        self._openings = tuple(opening.lower() for opening in filters.banned_openings)

    def accept_or_refuse(self, continuation: str, finish: str) -> tuple[str, str]:
        """The prompt in a continuation, and `ok` or the reason why it is refused.

        An accepted prompt is added to the known ones.
        """
        if finish == "no_room":
            return "", "no_room"
        prompt, followed = first_task(continuation)
        cut = finish == "length" and not followed
        reason = "cut_off" if cut else self._form_fault(prompt) or self._repetition(prompt)
        if reason is None:
            self._novelty.add(prompt)
        return prompt, reason or "ok"

    def _form_fault(self, prompt: str) -> str | None:
        """Why the prompt is refused by itself, without a look at others; new filters go here."""
        words = len(prompt.split())
        if not prompt:
            return "empty"
        if words < self._filters.min_words or not tokens(prompt):
            return "too_short"
        if words > self._filters.max_words:
            return "too_long"
        if self._banned and self._banned.search(prompt):
            return "banned_word"
        if prompt.lower().startswith(self._openings):
            return "banned_opening"
        first = prompt[0]
        if first in string.punctuation or not first.isascii():
            return "bad_start"
        return self._rubric_fault(prompt)

    def _repetition(self, prompt: str) -> str | None:
        """Whether the prompt repeats a known one; `novelty.py` has the rule."""
        if self._novelty.is_known(prompt):
            return "duplicate"
        return "similar" if self._novelty.is_similar(prompt) else None
