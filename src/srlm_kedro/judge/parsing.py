"""The score with which a judgement concludes, or the reason why there is none.

Three kinds of statement are told apart, and the strongest kind in a text speaks for it:

1. final: `Total score: 4`, `Final score: 4`, `Total points: 4`;
2. plain: `Score: 4`, `**Score:** [4/5]`, `Score = 4`, a heading `Score` with 4 beneath it;
3. loose: `I give it a score of 4.`, and only as the very last words.

Statements of one kind that differ are refused: nobody knows which one the judge meant. So is a
final one that a plain one takes back later: a judge that copies `Total score: 5` out of a response
means its own `Score: 1`. Points for a single criterion (`Relevance score: 1`) are no statement. A
refused judgement can be asked for again; a wrong number could not be found again, so doubt means
refusal.

Every pattern is possessive or works on a slice of fixed length: time is linear in the text.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

VERSION = 2
"""Bumped when some text is read differently, so that what hangs on scores is made again."""

Reason = Literal[
    "ok",  # there is a score
    "no_score",  # the text states none
    "conflicting",  # it states several that differ
    "out_of_range",  # below `low` or above `high`
    "wrong_scale",  # out of another total: 8/10, 80%
    "unclear",  # no single number: 4-5, 4,5, 1 + 1
    "cut_off",  # the text ends where the score should stand, or may still go on
    "not_ascii",  # digits of another script
]
REASONS: tuple[Reason, ...] = get_args(Reason)

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Parsed:
    """A score, or None with the reason; never a number that stands for a failure."""

    score: float | None
    reason: Reason


@dataclass(frozen=True)
class _Statement:
    """One place in the text that states a score, well or badly."""

    kind: Literal["final", "plain", "loose"]
    parsed: Parsed
    end: int


@dataclass(frozen=True)
class _Number:
    """What stands where a number is expected, and where it ends."""

    parsed: Parsed
    end: int
    scaled: bool = False
    """True when the total was named: `4/5`."""


_SPACE = r"\s\u00a0\u202f\u3000\u200b\ufeff"
_BLANK = r"\ \t\u00a0\u202f\u3000\u200b\ufeff"
_MARK = r"*_`\"'“”‘’$|"
_FLAGS = re.ASCII | re.IGNORECASE | re.VERBOSE

_LABEL = re.compile(
    r"(?<![A-Za-z0-9/]) (?: (?P<score>score) | total(?:\ points)? ) (?![A-Za-z])", _FLAGS
)
_QUALIFIER = re.compile(
    rf"""[{_BLANK}{_MARK}]*+
         (?: \((?P<inside>[^()\n]{{1,60}}+)\) | (?P<scale>(?:out\ of|/)\ *+\d++) )
         (?=[{_BLANK}{_MARK}]*+[:：=\n-])""",
    _FLAGS,
)
_BETWEEN = re.compile(
    rf"""(?: [{_SPACE}{_MARK}:：=()\[\]{{}}>—]
           | [-–](?=[{_SPACE}])
           | \\(?:boxed|text|mathbf|[\(\[])
           | (?:is|was|of|a|as|equals|(?:would|will|should)\ be)(?![A-Za-z])
         )*+""",
    _FLAGS,
)
_SEPARATOR = re.compile(r"[:：=\n—]|[-–]\s|\\boxed|\A>", re.ASCII)
_NUMBER = re.compile(
    rf"""(?P<open><)? [{_BLANK}]*+
         (?: (?:\d++(?:\.\d++)?\ ?\+\ ?)++ \d++(?:\.\d++)?\ ?[)\]]?\ ?=\ ?[{_MARK}]*+ )?
         (?P<sign>[-–−+]?) (?P<value>\d++(?:\.\d++)?)""",
    _FLAGS,
)
_CLOSING = rf"[{_BLANK}{_MARK}\])}}>]*+"
_TOTAL = re.compile(
    rf"""{_CLOSING} (?:points?|pts)?[{_BLANK}]*+ \(?
         (?: / | (?:out\ )?of (?:\ (?:a|the))? (?:\ (?:possible|total|maximum))?
                 (?:\ of)? (?![A-Za-z]) )
         [{_BLANK}{_MARK}]*+ (?P<total>\d++(?:\.\d++)? | [A-Za-z]++ | \S)""",
    _FLAGS,
)
_SECOND = re.compile(
    rf"""{_CLOSING} (?: [-–—−~/+*=] | -> | → | => | to\b | or\b | and\b )
         {_CLOSING} [\[(<]? (?P<other>\d++)""",
    _FLAGS,
)
_HEDGE = re.compile(
    r"\b(?:not|no|never|if|for|than|to|short|miss\w*|lack\w*|need\w*|requir\w*|prevent\w*)\b|n['’]t",
    re.IGNORECASE,
)
_BEFORE = re.compile(r"[^\n.!?;]*\Z")
_WORD = re.compile(r"[^\W\d_]+")
_FINAL = {"total", "final", "overall"}
_NEUTRAL = _FINAL | {
    *("the", "my", "a", "an", "this", "its", "your", "is", "so", "thus", "therefore", "hence"),
    *("and", "additive", "cumulative", "combined", "resulting", "response", "evaluation"),
    *("assessment", "conclusion", "verdict", "result", "answer", "points", "out", "of", "max"),
    *("maximum", "judgement", "judgment", "summary"),
    *("boxed", "text", "mathbf", "from", "to", "point", "scale", "range", "possible"),
}
_SPELLED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_TAIL = 80
_TRAILING = " \t\r\n\u00a0\u202f\u3000\u200b\ufeff*_`\"'“”‘’$|.)]}>"


def parse_score(text: str, finish: Finish = "stop", low: float = 0, high: float = 5) -> Parsed:
    """The score that a completion of the judge concludes with; None whenever it is in doubt.

    Paper: section 2.2, the judge ends with `Score: <total points>`.

    Args:
        text: The completion alone. The prompt's own rubric holds numbers too: never pass it.
        finish: `length` when the engine cut the text; what could still go on is then no score.
        low: Lowest score allowed.
        high: Highest score allowed; `4/5` is read only when the total is `high`.
    """
    text = answer(text)
    reader = _Reader(text, finish, low, high)
    parsed = _verdict(reader.statements()) or reader.bare() or Parsed(None, "no_score")
    cut = finish == "length" and parsed.reason == "no_score"
    return Parsed(None, "cut_off") if cut else parsed


def answer(text: str) -> str:
    """What follows the thinking of a reasoning model; all of the text for others."""
    _, closed, behind = text.rpartition("</think>")
    if closed:
        return behind
    return "" if text.lstrip().startswith("<think>") else text


def _verdict(statements: list[_Statement]) -> Parsed | None:
    for kind in ("final", "plain", "loose"):
        outcomes = [one.parsed for one in statements if one.kind == kind]
        if not outcomes:
            continue
        if outcomes[-1].reason == "cut_off":
            return outcomes[-1]
        if len(set(outcomes)) > 1:
            return Parsed(None, "conflicting")
        first = outcomes[0]
        # `Score: 1` after each criterion, and no total: points, not a score.
        repeated = first.score is not None and first.score <= 1 and len(outcomes) > 2
        if repeated:
            return Parsed(None, "unclear")
        taken_back = kind == "final" and _taken_back(statements)
        return Parsed(None, "conflicting") if taken_back else first
    return None


def _taken_back(statements: list[_Statement]) -> bool:
    """Whether a plain statement behind the last final one says something else."""
    last = max(place for place, one in enumerate(statements) if one.kind == "final")
    later = {one.parsed for one in statements[last + 1 :] if one.kind == "plain"}
    return not later <= {statements[last].parsed}


class _Reader:
    """Finds the statements of one text."""

    def __init__(self, text: str, finish: Finish, low: float, high: float) -> None:
        self._text = text
        self._cut = finish == "length"
        self._low, self._high = low, high
        self._end = len(text.rstrip(_TRAILING))

    def statements(self) -> list[_Statement]:
        """All of them, in the order of the text."""
        found = (self._statement(label) for label in _LABEL.finditer(self._text))
        return [statement for statement in found if statement is not None]

    def bare(self) -> Parsed | None:
        """A text that is nothing but a number, or whose last line is nothing but `4/5`."""
        line = self._text.strip().rpartition("\n")
        alone = _Reader(line[2], "length" if self._cut else "stop", self._low, self._high)
        number = alone._number(_BETWEEN.match(line[2]).end())  # type: ignore[union-attr]
        if number is None or number.end < alone._end:
            return None
        return number.parsed if number.scaled or not line[0].strip() else None

    def _statement(self, label: re.Match[str]) -> _Statement | None:
        kind = self._kind(label)
        position = label.end()
        if qualifier := _QUALIFIER.match(self._text, position):
            words, scales = self._qualified(qualifier)
            if not words:
                return None
            if not scales:
                return _Statement("plain", Parsed(None, "wrong_scale"), qualifier.end())
            position = qualifier.end()
        between = _BETWEEN.match(self._text, position)
        if kind is None or between is None or between.end() == label.end():
            return None
        if not _SEPARATOR.search(between[0]):
            if not label["score"]:
                return None
            kind = "loose"
        if between.end() >= self._end:
            return _Statement(kind, Parsed(None, "cut_off"), self._end) if self._cut else None
        number = self._number(between.end())
        if number is None or (kind == "loose" and not self._concludes(label.start(), number)):
            return None
        return _Statement(kind, number.parsed, number.end)

    def _kind(self, label: re.Match[str]) -> Literal["final", "plain", "loose"] | None:
        """The kind that the words before the label make it; None for one criterion's points."""
        start = label.start()
        before = _BEFORE.search(self._text[max(0, start - _TAIL) : start])[0]  # type: ignore[index]
        words = [word.lower() for word in _WORD.findall(before)]
        neutral = [word in _NEUTRAL for word in words]
        if not label["score"]:
            return "final" if all(neutral) else None
        if all(neutral):
            inside = before.rstrip(" *_").endswith("(")
            final = "final" if _FINAL & set(words) else "plain"
            return "loose" if inside and not words else final
        attached = not before.rstrip(f"{_TRAILING}([{{<#-").endswith(",")
        return None if attached and not neutral[-1] else "loose"

    def _qualified(self, qualifier: re.Match[str]) -> tuple[bool, bool]:
        """Whether `Score (...)` is about all of the response, and whether on this scale."""
        inside = qualifier["inside"] or qualifier["scale"]
        numbers = re.findall(r"\d+", inside, re.ASCII)
        neutral = all(word.lower() in _NEUTRAL for word in _WORD.findall(inside))
        return neutral, not numbers or float(numbers[-1]) == self._high

    def _concludes(self, start: int, number: _Number) -> bool:
        """True when a loose statement ends the text and its sentence denies nothing."""
        rest = self._text[number.end : number.end + _TAIL]
        ends = number.end + len(rest) >= self._end
        ends = ends and re.fullmatch(r"\W*(?:points?|stars?)?\W*", rest, re.IGNORECASE) is not None
        before = _BEFORE.search(self._text[max(0, start - _TAIL) : start])
        return ends and before is not None and not _HEDGE.search(before[0])

    def _settled(self, end: int) -> bool:
        """True when the words behind a number show that it was written to its end."""
        rest = self._text[end : end + _TAIL]
        return len(rest) == _TAIL or re.search(r"(?:\n|[.;!]\s)\s*\S", rest) is not None

    def _number(self, position: int) -> _Number | None:
        """The number at `position`; None when what stands there is no answer."""
        found = _NUMBER.match(self._text, position)
        if found is None:
            if _foreign_digit(self._text[position : position + 1]):
                return _Number(Parsed(None, "not_ascii"), position + 1)
            return None
        end = found.end()
        tail = self._text[end : end + _TAIL]
        if _is_label(tail):
            return None
        total = _TOTAL.match(tail)
        if total is not None:
            end += total.end()
        refusal = self._refusal(tail, total)
        value = float(found["value"]) * (-1 if found["sign"] in ("-", "–", "−") else 1)
        second = _SECOND.match(tail, total.end() if total else 0)
        if second is not None and not (total and "=" in second[0]):
            if (value, float(second["other"])) == (self._low, self._high):
                return None  # the scale itself, `0-5`
            refusal = refusal or "unclear"
        if found["open"] and not re.match(r"[^>\n]{0,20}>", self._text[end - 1 : end + _TAIL]):
            refusal = refusal or "unclear"
        return _Number(self._checked(value, refusal, end), end, total is not None)

    def _refusal(self, tail: str, total: re.Match[str] | None) -> Reason | None:
        """What is wrong right behind the digits."""
        if _foreign_digit(tail[:1]) or (total and _foreign_digit(total["total"])):
            return "not_ascii"
        if re.match(r"\.\d|,\s*\d|⁄|∕|(?!p(?:oin)?ts?\b)[A-Za-z]", tail, _FLAGS):
            return "unclear"
        if re.match(r"\s*[%％]", tail):
            return "wrong_scale"
        if total is None:
            return None
        named = total["total"].lower()
        number = _SPELLED.index(named) if named in _SPELLED else named
        try:
            return None if float(number) == self._high else "wrong_scale"
        except ValueError:
            return "wrong_scale"

    def _checked(self, value: float, refusal: Reason | None, end: int) -> Parsed:
        if refusal is not None:
            return Parsed(None, refusal)
        if self._cut and not self._settled(end):
            return Parsed(None, "cut_off")  # `4` may be the start of `4.5` or of `4 out of 10`
        if not self._low <= value <= self._high:
            return Parsed(None, "out_of_range")
        return Parsed(value + 0.0, "ok")


def _is_label(tail: str) -> bool:
    """True for `Score 5: impeccable` and `a score of 5-point`: a name, no answer."""
    return re.match(r"-[A-Za-z]|\s*:\s*[A-Za-z]", tail) is not None


def _foreign_digit(character: str) -> bool:
    return character.isnumeric() and not character.isascii()
