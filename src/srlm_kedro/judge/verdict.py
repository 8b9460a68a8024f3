"""The verdict on two answers, or the rating of one, with which a judge concludes.

As strict as `parsing`: what is in doubt is None with a reason, never a tie, never a number, never
a draw of lots. Statements are of several kinds, and the strongest kind in a text speaks for it:

1. `[[A]]`, as the prompt asks for;
2. `Final verdict: A`;
3. `Verdict: A`, `Winner: Response B`;
4. as the last line alone: `[A]`, `Answer A is better.`, or a text that is nothing but `A`.

Statements of one kind that differ are refused, and so is one that a labelled one takes back later:
a judge that copies `[[A]]` out of an answer may mean another. So is every text that the engine cut,
for the conclusion comes last. Every pattern is possessive or bounded: time is linear in the text.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from srlm_kedro.judge import parsing
from srlm_kedro.judge.parsing import Finish, Parsed

VERSION = f"2, scores {parsing.VERSION}"
"""Bumped when some text is read differently, so that what hangs on verdicts is made again."""

Winner = Literal["first", "second", "tie"]
Reason = Literal[
    "ok",  # there is a verdict
    "no_verdict",  # the text states none
    "conflicting",  # it states several that differ
    "unclear",  # a labelled one that names none of the three: `Verdict: A or B`
    "cut_off",  # the engine cut the text before its end
]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class Verdict:
    """The better of two answers as shown, or None with the reason."""

    winner: Winner | None
    reason: Reason


_FLAGS = re.ASCII | re.IGNORECASE | re.VERBOSE
_MARK = r"""[ \t*_`"'\u201c\u201d\u2018\u2019$(){}<>.!]"""
_ANSWER = r"(?:(?:the\ )?(?:response|answer|assistant|model|option)\ (?=[AB]))"
_TIE = r"(?:(?:it(?:\ is|['\u2019]s)\ )?(?:a\ )?(?:tie|draw))"
_BETTER = r"""(?:\ is\ (?:the\ )?(?:clearly\ |slightly\ |much\ |overall\ )?
                (?:better|winner|best)(?:\ (?:one|response|answer|overall))? | \ wins)"""
_BRACKETS = re.compile(r"\\?\[\\?\[[ \t*]{0,4}+([^\[\]\\\n]{1,24}?)[ \t*]{0,4}\\?\]\\?\]")
_NAMED = re.compile(rf"{_ANSWER}?(?P<letter>[ABC]) | (?P<tie>{_TIE})", _FLAGS)
_LABELLED = re.compile(
    rf"""(?<![A-Za-z]) (?P<final>(?:final|overall)\ )?
         (?:verdict|decision|judge?ment|winner|choice)
         (?:\ is)? {_MARK}{{0,8}}+ [:=] (?P<value>[^\n]*+)""",
    _FLAGS,
)
_VALUE = re.compile(
    rf"""(?: {_MARK} | \\?\[ )*+
         (?: {_ANSWER}?(?-i:(?P<letter>[ABC])) (?![A-Za-z]) | (?P<tie>{_TIE}) )
         [*_`"'\u201c\u201d\u2018\u2019)>]*+ (?:\\?\])?+ {_BETTER}? (?: {_MARK} | \] )*+""",
    _FLAGS,
)
_SENTENCE = re.compile(
    rf"""(?: (?:so|thus|therefore|hence|overall|in\ (?:short|summary|conclusion)),?\  )?
         (?: {_ANSWER}(?-i:(?P<letter>[AB])) {_BETTER}
           | (?:the\ )?better\ (?:one|response|answer)\ is\ {_ANSWER}?(?-i:(?P<other>[AB]))
           | it\ is\ (?P<tie>a\ (?:tie|draw)) )[.!]?""",
    _FLAGS,
)
_LETTERS: dict[str, Winner] = {"A": "first", "B": "second", "C": "tie"}
_RATING_WORD = re.compile(r"\b(?:rating|grade)\b", re.ASCII | re.IGNORECASE)


def parse_verdict(text: str, finish: Finish = "stop") -> Verdict:
    """The verdict that a completion of the judge concludes with; None whenever it is in doubt.

    Args:
        text: The completion alone. The prompt names all three verdicts: never pass it.
        finish: `length` when the engine cut the text.
    """
    if finish == "length":
        return Verdict(None, "cut_off")
    text = parsing.answer(text)
    labels = list(_LABELLED.finditer(text))
    labelled = [(one.start(), _value(one["value"])) for one in labels]
    kinds = (
        [
            (one.start(), _named(inside))
            for one in _BRACKETS.finditer(text)
            if (inside := _NAMED.fullmatch(one[1]))
        ],
        [said for said, one in zip(labelled, labels, strict=True) if one["final"]],
        labelled,
    )
    for found in filter(None, kinds):
        last, verdict = found[-1]
        later = {said for place, said in labelled if place > last and said.winner}
        agreed = {said for _, said in found} | later == {verdict}
        return verdict if agreed else Verdict(None, "conflicting")
    return _last_line(text) or Verdict(None, "no_verdict")


def parse_rating(text: str, finish: Finish = "stop", low: float = 1, high: float = 10) -> Parsed:
    """The rating that a completion of the judge concludes with, `[[7]]` or `Rating: 7/10`.

    Ratings in double brackets come first; without any, `rating` and `grade` are read as `score`.

    Returns:
        As `parse_score`, with its reasons.
    """
    if finish == "length":
        return Parsed(None, "cut_off")
    text = parsing.answer(text)
    inside = [one[1] for one in _BRACKETS.finditer(text) if re.search(r"\d", one[1])]
    numbers = [f"Score: {one}" for one in inside if "," not in one]  # `[[1, 2]]` is a matrix
    found = {parsing.parse_score(number, "stop", low, high) for number in numbers}
    if len(found) > 1:
        return Parsed(None, "conflicting")
    plain = _RATING_WORD.sub("score", text)
    return found.pop() if found else parsing.parse_score(plain, "stop", low, high)


def _value(line: str) -> Verdict:
    """What stands behind a label, to the end of its line."""
    value = _VALUE.fullmatch(line)
    return _named(value) if value else Verdict(None, "unclear")


def _last_line(text: str) -> Verdict | None:
    before, _, line = text.strip().rpartition("\n")
    line = line.strip(" \t*_`")
    if said := _SENTENCE.fullmatch(line):
        return _named(said)
    alone = _VALUE.fullmatch(line)
    return _named(alone) if alone and (not before or line.startswith("[")) else None


def _named(match: re.Match[str]) -> Verdict:
    groups = match.groupdict()
    letter = groups.get("letter") or groups.get("other")
    return Verdict(_LETTERS[letter.upper()] if letter else "tie", "ok")
