"""The places in a judgement that state a score, each with its kind and the score it gives.

A statement is a label and a number: `Total score: 4`, `**Score:** [4/5]`, `a score of 4`. What is
quoted, supposed or denied is no statement. Points for one criterion (`Relevance score: 1`) and the
items of a list below the label are no statements either.

`numbers` defines what counts as a number, and `hedges` the words that withdraw one. Every pattern
is possessive or works on a slice of fixed length, so time is linear in the text.
"""

import re
from dataclasses import dataclass
from typing import Literal

from srlm_kedro.judge import hedges
from srlm_kedro.judge.numbers import BLANK, FLAGS, MARK, SPACE, Number, read_number

Reason = Literal[
    "ok",  # there is a score
    "no_score",  # the text states none
    "conflicting",  # it states several that differ, or takes its own back
    "out_of_range",  # below `low` or above `high`
    "wrong_scale",  # out of another total: 8/10, 80%
    "unclear",  # no single number: 4-5, 4,5, 1 + 1, 4?, >4
    "cut_off",  # the text ends before its score, or the number may go on
    "not_ascii",  # digits of another script
]

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Parsed:
    """A score, or None with the reason; never a number that stands for a failure."""

    score: float | None
    reason: Reason


Kind = Literal["revised", "final", "plain", "loose"]
"""From the strongest to the weakest. `parsing` says what each one looks like."""


@dataclass(frozen=True)
class Statement:
    """One place in the text that states a score, readable or not."""

    kind: Kind
    parsed: Parsed
    end: int
    may_be_points: bool = False
    """True if it may be the points for one criterion: `Score: 1 (relevance)`."""
    is_sum: bool = False
    """True for a `Total` or `Overall` that does not call itself final."""


_LABEL = re.compile(
    r"""(?: (?<![A-Za-z0-9/]) (?: (?P<score>score|rating|grade) | total(?:\ points)? | overall )
          | (?P<result>\[RESULT\]) )
        (?:\ (?:awarded|earned|given|assigned))? (?![A-Za-z])""",
    FLAGS,
)
_QUALIFIER = re.compile(
    rf"""[{BLANK}{MARK}]*+
         (?: [(\[] (?P<inside>[^()\[\]\n]{{1,60}}+) [)\]]
           | (?P<scale>(?:out\ of|/)\ *+\d++ | (?:on|from|for)\ [^:：=\n]{{1,40}}?) )
         (?=[{BLANK}{MARK}]*+ (?: [:：=\n-] | \b(?:is|was)\b ))""",
    FLAGS,
)
_BETWEEN = re.compile(
    rf"""[{BLANK}{MARK}]*+ >?+
         (?> (?: [-=]>
           | [{SPACE}{MARK}:：=()\[\]{{}}—→⇒]
           | [-–](?=[{SPACE}])
           | \\(?:boxed|text(?:bf|rm)?|mathbf|[\(\[])
           | (?:is|was|of|a(?=\ [^:])|as|equals|(?:would|will|should)\ be)(?![A-Za-z])
         )* )""",
    FLAGS,
)
_SEPARATOR = re.compile(r"[:：=\n—→⇒|]|->|[-–]\s|\\boxed|\A[^\w:]*>", re.ASCII)
_TAG = re.compile(r"<[A-Za-z_ ]{1,30}\Z")
_SENTENCE_BEFORE = re.compile(r"[^\n.!?;]*\Z")
_WORD = re.compile(r"[^\W\d_]+")
_FINAL = {"total", "final", "overall"}
_REVISED = {
    *("revised", "updated", "corrected", "adjusted", "amended", "reconsidered", "reassessed"),
    *("recalculated", "modified", "new"),
}
_NEUTRAL = frozenset(
    _FINAL
    | _REVISED
    | {
        *("the", "my", "a", "an", "this", "its", "your", "is", "so", "thus", "therefore", "hence"),
        *("and", "additive", "cumulative", "combined", "resulting", "response", "evaluation"),
        *("assessment", "conclusion", "verdict", "result", "answer", "points", "judgement", "of"),
        *("judgment", "summary", "score", "rating", "grade", "boxed", "text", "mathbf"),
    }
)
_SCALE_WORDS = _NEUTRAL | {
    *("out", "max", "maximum", "from", "to", "point", "scale", "range", "possible"),
    *("on", "for", "between", "assistant"),
}
_LISTED = re.compile(rf"[ \t]*+[*_]*+(?:\d{{1,2}}[.)]|[-*•+])[{BLANK}]", re.ASCII)
_TALLY = re.compile(r"[+]\s?\d|\bpoints?\b|\d\s*\+|\bcumulative\b", FLAGS)
_CRITERION = re.compile(r"[^\w\n]*[(:–—-]\s*[*_]*[A-Za-z]", re.ASCII)
_ITEM_MARK = re.compile(r"[.)]\s+\S")
_NEXT_WORD = re.compile(r"[A-Za-z]++", re.ASCII)
_WORDS_AFTER_TOTAL = {
    *("because", "as", "since", "based", "given", "due", "and", "points", "in"),
    *("with", "which", "criteria", "stars"),
}
_TAIL = 80
_TRAILING = " \t\r\n\u00a0\u202f\u3000\u200b\ufeff*_`\"'“”‘’$|.)]}>"


class StatementReader:
    """Finds the statements of one text."""

    def __init__(self, text: str, finish: Finish, low: float, high: float) -> None:
        """Reads a text without thoughts, on the scale from `low` to `high`."""
        self._text = text
        self._cut = finish == "length"
        self._low, self._high = low, high
        self._end = len(text.rstrip(_TRAILING))

    def statements(self) -> list[Statement]:
        """All statements with a label, in the order of the text."""
        found = (self._statement(label) for label in _LABEL.finditer(self._text))
        return [statement for statement in found if statement is not None]

    def bare_number(self) -> Parsed | None:
        """The score of a text that is only a number, or whose last line is only `4/5`."""
        before, _, line = self._text.strip().rpartition("\n")
        number = read_number(line, _after(_BETWEEN, line, 0), self._low, self._high)
        if number is None or line[number.end :].strip(_TRAILING):
            return None
        ends = len(before) + len(line) + bool(before)
        parsed = self._score_of(number, ends if self._cut else 0, self._cut)
        return parsed if number.scaled or not before.strip() else None

    def _statement(self, label: re.Match[str]) -> Statement | None:
        """What the label and the text after it state; None if that is no statement."""
        kind = self._kind(label)
        position = label.end()
        if qualifier := _QUALIFIER.match(self._text, position):
            words, scales = self._qualified(qualifier)
            if not words:
                return None
            if not scales:
                return Statement("plain", Parsed(None, "wrong_scale"), qualifier.end())
            position = qualifier.end()
        start = _after(_BETWEEN, self._text, position)
        between = self._text[position:start]
        if kind is None or (start == label.end() and not label["result"]):
            return None
        if between.lstrip().startswith(">") and not _TAG.search(
            self._text[max(0, position - _TAIL) : position]
        ):
            return None  # `Score > 4` compares, `<score>4</score>` does not
        if not _SEPARATOR.search(between) and not label["result"]:
            if not label["score"]:
                return None
            kind = "loose"
        if start >= self._end:
            return Statement(kind, Parsed(None, "cut_off"), self._end) if self._cut else None
        number = read_number(self._text, start, self._low, self._high)
        if number is None:
            return None
        named = bool(_SEPARATOR.search(between)) or label["result"] is not None
        return self._stated(kind, label, named, between, number)

    def _stated(
        self, kind: Kind, label: re.Match[str], named: bool, between: str, number: Number
    ) -> Statement | None:
        """The statement that a label and a number make; None if they make none."""
        before = self._line_before(label.start())
        sentence = _SENTENCE_BEFORE.search(before)[0]  # type: ignore[index]
        if kind == "loose" and not self._concludes(sentence, between, named, number):
            return None
        if hedges.is_quoted(before, between, number.rest, _NEUTRAL):
            return None
        if "\n" in between and ("|" in between or not self._is_alone_on_line(number)):
            return Statement(kind, Parsed(None, "unclear"), number.end)
        if not label["score"] and not label["result"] and not _is_total(number):
            return None
        parsed = self._score_of(number, number.end, self._cut)
        if self._cut and parsed.score is not None and self._is_tally(before, number.end):
            parsed = Parsed(None, "cut_off")
        may_be_points = bool(_CRITERION.match(number.rest)) or _LISTED.match(before) is not None
        is_sum = kind == "final" and not label["result"] and "final" not in sentence.lower()
        return Statement(kind, parsed, number.end, may_be_points, is_sum)

    def _line_before(self, start: int) -> str:
        """The part of the line before a place."""
        return self._text[max(0, start - 4 * _TAIL) : start].rpartition("\n")[2]

    def _kind(self, label: re.Match[str]) -> Kind | None:
        """The kind of statement, by the words before the label; None for points of a criterion."""
        if label["result"]:
            return "final"
        start = label.start()
        before = _SENTENCE_BEFORE.search(self._text[max(0, start - _TAIL) : start])[0]  # type: ignore[index]
        words = [word.lower() for word in _WORD.findall(before)]
        neutral = [word in _NEUTRAL for word in words]
        if all(neutral):
            if not words and before.rstrip(" *_").endswith("("):
                return "loose"  # `+1 (total: 2)` may be a tally
            if _REVISED & set(words):
                return "revised"
            return "final" if not label["score"] or _FINAL & set(words) else "plain"
        if not label["score"]:
            return None
        attached = not before.rstrip(f"{_TRAILING}([{{<#-").endswith(",")
        return None if attached and not neutral[-1] else "loose"

    def _qualified(self, qualifier: re.Match[str]) -> tuple[bool, bool]:
        """Whether `Score (...)` is about the whole response, and whether its scale fits."""
        inside = qualifier["inside"] or qualifier["scale"]
        numbers = re.findall(r"\d+", inside, re.ASCII)
        words = [word.lower() for word in _WORD.findall(inside)]
        neutral = all(word in _SCALE_WORDS for word in words) and words[-1:] != ["a"]
        return neutral, not numbers or self._high in (float(numbers[-1]), float(numbers[0]))

    def _concludes(self, sentence: str, between: str, named: bool, number: Number) -> bool:
        """Whether a loose statement ends the text and means the response that is judged."""
        rest = self._text[number.end : number.end + _TAIL]
        ends = number.end + len(rest) >= self._end
        if not ends or re.fullmatch(r"\W*(?:points?|stars?)?\W*", rest, re.IGNORECASE) is None:
            return False
        words = [word.lower() for word in _WORD.findall(sentence)]
        if all(word in _NEUTRAL for word in words):
            return True
        return not hedges.is_supposed(sentence + between, named)

    def _is_alone_on_line(self, number: Number) -> bool:
        """Whether the line below a label is only a number, and no list begins there."""
        if _ITEM_MARK.match(number.rest) or _WORD.search(number.rest.partition("(")[0]):
            return False
        following = self._text[number.end + len(number.rest) :][:_TAIL].lstrip()
        return re.match(r"[-*•+ ]*\d", following, re.ASCII) is None

    def _is_tally(self, before: str, end: int) -> bool:
        """Whether a cut text may have gone on adding points, so that this total is not the last."""
        following = self._text[end : end + _TAIL]
        goes_on = re.match(rf"[^\n]*\n\s*(?:{_LISTED.pattern})", following, re.ASCII)
        return bool(_TALLY.search(before) or _LISTED.match(before) or goes_on)

    def _is_complete(self, end: int) -> bool:
        """Whether the text after a number shows that the number was written to its end."""
        rest = self._text[end : end + _TAIL]
        return len(rest) == _TAIL or re.search(r"(?:\n|[.;!]\s)\s*\S", rest) is not None

    def _score_of(self, number: Number, end: int, cut: bool) -> Parsed:
        """The score that a number states, or the reason why it states none."""
        if number.fault is not None:
            return Parsed(None, number.fault)
        if cut and not self._is_complete(end):
            return Parsed(None, "cut_off")  # `4` may be the start of `4.5` or of `4 out of 10`
        if not self._low <= number.value <= self._high:
            return Parsed(None, "out_of_range")
        return Parsed(number.value + 0.0, "ok")


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Where the text goes on after the pattern, if the pattern matches at this position."""
    found = pattern.match(text, position)
    return found.end() if found else position


def _is_total(number: Number) -> bool:
    """False for `Total: 3 errors` and `Overall: 2 issues remain`: they count something else."""
    word = _NEXT_WORD.match(number.rest.lstrip(" *_"))
    return number.fault is not None or word is None or word[0].lower() in _WORDS_AFTER_TOTAL
