"""The verdict on two answers, or the rating of one, with which a judge concludes.

This parser is as strict as `parsing`. A verdict in doubt is None with a reason. It never becomes a
tie, a number or a random choice. There are four kinds of statement. The strongest kind in a text
decides:

1. `[[A]]`, which the prompt asks for;
2. `Final verdict: A`;
3. `Verdict: A`, `Winner: Response B`;
4. only in the last line: `[A]`, `Answer A is better.`, or a text that is only `A`.

Some statements are refused, or are no verdict:

- Statements of one kind that differ are refused.
- A statement is refused if the judge withdraws it later, by another label, by a sentence (`Answer B
  is better.`) or by words such as `on reflection`. This includes a correction: a judge that changes
  sides was near a tie, and each comparison is made in both orders anyway.
- A quotation within a sentence belongs to an answer, so it is no verdict. `not [[A]]` is no verdict
  either.
- A text that the engine cut has no verdict, because the conclusion comes last.

Every pattern is possessive or bounded, so time is linear in the text.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from srlm_kedro.engines import thoughts
from srlm_kedro.judge import hedges, parsing
from srlm_kedro.judge.parsing import Finish, Parsed

READS_AGAIN = True
"""See `srlm_kedro.freshness.provenance`: judgements are kept raw."""

Winner = Literal["first", "second", "tie"]
Reason = Literal[
    "ok",  # there is a verdict
    "no_verdict",  # the text states none
    "conflicting",  # it states several that differ, or takes its own back
    "unclear",  # none of the three, or one that is denied: `Verdict: A or B`, `not [[A]]`
    "cut_off",  # the engine cut the text before its end
]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class Verdict:
    """The better of two answers, in the order in which the judge saw them; or None and why."""

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
    rf"""(?> (?: {_MARK} | \\?\[ )* )
         (?: {_ANSWER}?(?-i:(?P<letter>[ABC])) (?![A-Za-z]) | (?P<tie>{_TIE}) )
         [*_`"'\u201c\u201d\u2018\u2019)>]*+ (?> (?:\\?\])? ) {_BETTER}?
         (?> (?: {_MARK} | \] )* )""",
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
_SENTENCE_END = re.compile(r"[.!;\n]+")
_LEAD_IN = re.compile(
    r"\W*(?:(?:no|but|rather|still|yet|however|and|even\ so)\b,?\s*)*", re.ASCII | re.IGNORECASE
)
_WORDS_OUTSIDE_QUOTES = frozenset(
    [
        *("my", "the", "a", "so", "thus", "therefore", "hence", "is", "final", "overall"),
        *("verdict", "decision", "winner", "choice", "rating", "grade", "score"),
    ]
)
"""Words that may come before the quotation marks of a verdict that is the judge's own."""
_CONTEXT = 200


def parse_verdict(text: str, finish: Finish = "stop") -> Verdict:
    """The verdict with which a completion of the judge concludes; None whenever it is in doubt.

    Args:
        text: Only the completion. The prompt names all three verdicts: never pass it.
        finish: `length` if the engine cut the text.
    """
    if finish == "length":
        return Verdict(None, "cut_off")
    text = thoughts.split(text)[1]
    brackets = [
        (one, _verdict_of(inside))
        for one in _BRACKETS.finditer(text)
        if (inside := _NAMED.fullmatch(one[1])) and not _is_quoted(text, one.start(), one.end())
    ]
    labelled = [
        (one, _labelled_verdict(one["value"]))
        for one in _LABELLED.finditer(text)
        if not _is_quoted(text, one.start(), one.start("value"))
    ]
    final = [stated for stated in labelled if stated[0]["final"]]
    for found in filter(None, (brackets, final, labelled)):
        last, verdict = found[-1]
        later = {stated for one, stated in labelled if one.start() > last.start() and stated.winner}
        later |= _later_verdicts(text[last.end() :])
        if {stated for _, stated in found} | later != {verdict}:
            return Verdict(None, "conflicting")
        return Verdict(None, "unclear") if _is_rejected(text, last) else verdict
    return _last_line(text) or Verdict(None, "no_verdict")


def parse_rating(text: str, finish: Finish = "stop", low: float = 1, high: float = 10) -> Parsed:
    """The rating with which a completion of the judge concludes: `[[7]]` or `Rating: 7/10`.

    Ratings in double brackets come first. Without any, the text is read by `parse_score`, for which
    `rating` and `grade` mean `score`.

    Returns:
        The same as `parse_score`, with the same reasons.
    """
    if finish == "length":
        return Parsed(None, "cut_off")
    text = thoughts.split(text)[1]
    inside = [
        one
        for one in _BRACKETS.finditer(text)
        if re.search(r"\d", one[1])
        and "," not in one[1]  # `[[1, 2]]` is a matrix
        and not _is_quoted(text, one.start(), one.end())
    ]
    if not inside:
        return parsing.parse_score(text, "stop", low, high)
    last = inside[-1]
    found = {parsing.parse_score(f"Score: {one[1]}", "stop", low, high) for one in inside}
    behind = text[last.end() :]
    later = parsing.parse_score(behind, "stop", low, high)
    found |= {later} if later.reason != "no_score" else set()
    if len(found) > 1 or hedges.takes_back(behind):
        return Parsed(None, "conflicting")
    return Parsed(None, "unclear") if _is_rejected(text, last) else found.pop()


def _is_quoted(text: str, start: int, end: int) -> bool:
    """Whether the verdict between two places of the text is a quotation."""
    before = text[max(0, start - _CONTEXT) : start].rpartition("\n")[2]
    behind = text[end : end + _CONTEXT].partition("\n")[0]
    return hedges.is_quoted(before, "", behind, _WORDS_OUTSIDE_QUOTES)


def _is_rejected(text: str, one: re.Match[str]) -> bool:
    """Whether the sentence around a verdict denies it."""
    before = _SENTENCE_END.split(text[max(0, one.start() - _CONTEXT) : one.start()])[-1]
    return hedges.is_rejected(before, text[one.end() : one.end() + _CONTEXT])


def _later_verdicts(behind: str) -> set[Verdict]:
    """The verdicts in later sentences, and `conflicting` if later words withdraw the verdict."""
    stated = {_verdict_of(one) for one in _sentences(behind)}
    return stated | ({Verdict(None, "conflicting")} if hedges.takes_back(behind) else set())


def _sentences(text: str) -> list[re.Match[str]]:
    """The sentences that state a verdict: `Answer A is better.`"""
    parts = (part.strip(" \t*_`") for part in _SENTENCE_END.split(text) if len(part) < _CONTEXT)
    matches = (_SENTENCE.fullmatch(part, _LEAD_IN.match(part).end()) for part in parts)  # type: ignore[union-attr]
    return [match for match in matches if match]


def _labelled_verdict(line: str) -> Verdict:
    """The verdict that follows a label, up to the end of its line."""
    value = _VALUE.fullmatch(line)
    return _verdict_of(value) if value else Verdict(None, "unclear")


def _last_line(text: str) -> Verdict | None:
    """The verdict that the last line states without a label; None if it states none."""
    before, _, line = text.strip().rpartition("\n")
    if line.startswith(">"):
        return None
    line = line.strip(" \t*_`")
    if stated := _SENTENCE.fullmatch(line):
        agreed = {_verdict_of(one) for one in _sentences(before)} <= {_verdict_of(stated)}
        return _verdict_of(stated) if agreed else Verdict(None, "conflicting")
    alone = _VALUE.fullmatch(line)
    return _verdict_of(alone) if alone and (not before or line.startswith("[")) else None


def _verdict_of(match: re.Match[str]) -> Verdict:
    """The verdict that the letter or the word `tie` in a match names."""
    groups = match.groupdict()
    letter = groups.get("letter") or groups.get("other")
    return Verdict(_LETTERS[letter.upper()] if letter else "tie", "ok")
