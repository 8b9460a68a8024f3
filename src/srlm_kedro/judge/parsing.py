"""The score with which a judgement concludes, or the reason why there is none.

Four kinds of statement are told apart, and the strongest kind in a text speaks for it:

1. revised: `Revised score: 4`, for it says itself that the earlier ones no longer count;
2. final: `Total score: 4`, `Final score: 4`, `Overall: 4/5`, `[RESULT] 4`, `| **Total** | 4 |`;
3. plain: `Score: 4`, `**Score:** [4/5]`, `Score = four`, a heading `Score` with 4 beneath it;
4. loose: `I give it a score of 4.`, and only as the very last words.

A refused judgement can be asked for again; a wrong number could not be found again. So doubt means
refusal:

- Statements of one kind that differ are refused, for nobody knows which one the judge meant. A
  later one without a word that it corrects is no exception: a careful reader of `Score: 3`, then
  `Score: 4`, cannot tell a correction from a slip, a quotation or the points of a criterion.
- A statement that another kind contradicts later is refused, and so is one that words take back
  (`Wait, ...`). A judge that copies `Total score: 5` from a response means its own `Score: 1`.
- What is quoted, supposed or denied is no statement, nor are points for one criterion
  (`Relevance score: 1`) or the items of a list beneath the label.
- In a text that the engine cut, a number may go on, and a running tally says no score.

What a number is, `numbers` says; what takes one back, `hedges`. Every pattern is possessive or
works on a slice of fixed length: time is linear in the text.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from srlm_kedro.engines import thoughts
from srlm_kedro.judge import hedges
from srlm_kedro.judge.json_scores import json_scores
from srlm_kedro.judge.numbers import BLANK, FLAGS, MARK, SPACE, Number, read_number

READS_AGAIN = True
"""See `srlm_kedro.freshness.provenance`: judgements are kept raw."""

Reason = Literal[
    "ok",  # there is a score
    "no_score",  # the text states none
    "conflicting",  # it states several that differ, or takes its own back
    "out_of_range",  # below `low` or above `high`
    "wrong_scale",  # out of another total: 8/10, 80%
    "unclear",  # no single number: 4-5, 4,5, 1 + 1, 4?, >4
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


Kind = Literal["revised", "final", "plain", "loose"]
_KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class _Statement:
    """One place in the text that states a score, well or badly."""

    kind: Kind
    parsed: Parsed
    end: int
    pointlike: bool = False
    """True where it may be the points of one criterion: `Score: 1 (relevance)`."""
    adds: bool = False
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
_BEFORE = re.compile(r"[^\n.!?;]*\Z")
_WORD = re.compile(r"[^\W\d_]+")
_FINAL = {"total", "final", "overall"}
_REVISED = {
    *("revised", "updated", "corrected", "adjusted", "amended", "reconsidered", "reassessed"),
    *("recalculated", "modified", "new"),
}
_NEUTRAL = (
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
_OWN = frozenset(_NEUTRAL)
_LISTED = re.compile(rf"[ \t]*+[*_]*+(?:\d{{1,2}}[.)]|[-*•+])[{BLANK}]", re.ASCII)
_TALLY = re.compile(r"[+]\s?\d|\bpoints?\b|\d\s*\+|\bcumulative\b", FLAGS)
_CRITERION = re.compile(r"[^\w\n]*[(:–—-]\s*[*_]*[A-Za-z]", re.ASCII)
_ITEM_MARK = re.compile(r"[.)]\s+\S")
_TOTALS = re.compile(r"[A-Za-z]++", re.ASCII)
_AFTER_TOTALS = {
    *("because", "as", "since", "based", "given", "due", "and", "points", "in"),
    *("with", "which", "criteria", "stars"),
}
_IMPROVED = re.compile(
    r"\b(?:improved|suggested|rewritten|revised|better|updated)\s+"
    r"(?:answer|response|version|revision)\b",
    re.IGNORECASE | re.ASCII,
)
_TAIL = 80
_TRAILING = " \t\r\n\u00a0\u202f\u3000\u200b\ufeff*_`\"'“”‘’$|.)]}>"


@functools.lru_cache(maxsize=2**16)  # each is read when it is drawn and when rewards are made of it
def parse_score(text: str, finish: Finish = "stop", low: float = 0, high: float = 5) -> Parsed:
    """The score that a completion of the judge concludes with; None whenever it is in doubt.

    Paper: section 2.2, the judge ends with `Score: <total points>`.

    Args:
        text: The completion alone. The prompt's own rubric holds numbers too: never pass it.
        finish: `length` when the engine cut the text; what could still go on is then no score.
        low: Lowest score allowed.
        high: Highest score allowed; `4/5` is read only when the total is `high`.
    """
    cut = finish == "length"
    text = thoughts.split(text, cut)[1]
    if (stated := json_scores(text)) is not None:
        text = "\n".join(f"{name}: {value}" for name, value in stated)
    parsed = _Reader(text, finish, low, high).parsed()
    return Parsed(None, "cut_off") if cut and parsed.reason == "no_score" else parsed


class _Reader:
    """Finds the statements of one text and weighs them."""

    def __init__(self, text: str, finish: Finish, low: float, high: float) -> None:
        self._text = text
        self._cut = finish == "length"
        self._low, self._high = low, high
        self._end = len(text.rstrip(_TRAILING))

    def parsed(self) -> Parsed:
        """What the text concludes with."""
        found = (self._statement(label) for label in _LABEL.finditer(self._text))
        statements = [statement for statement in found if statement is not None]
        alone = self._alone()
        for kind in _KINDS:
            if outcome := self._weighed(kind, statements):
                disputed = outcome.score is not None and alone not in (None, outcome)
                return Parsed(None, "conflicting") if disputed else outcome
        return alone or Parsed(None, "no_score")

    def _weighed(self, kind: Kind, statements: Sequence[_Statement]) -> Parsed | None:
        """What the statements of one kind say together; None without any."""
        own = [one for one in statements if one.kind == kind]
        if not own:
            return None
        last = own[-1].parsed
        if last.reason == "cut_off":
            return last
        later = [one.parsed for one in statements if one.end > own[-1].end]
        if {one.parsed for one in own} | set(later) != {last}:
            return Parsed(None, "conflicting")
        if last.score is None:
            return last
        if kind == "revised" and _IMPROVED.search(self._text):
            return Parsed(None, "conflicting")  # of a response that the judge wrote itself
        if own[-1].adds and self._contradicts(statements, last.score):
            return Parsed(None, "conflicting")
        # `Score: 1` after each criterion, and no total: points, not a score.
        points = last.score <= 1 and len(own) > 1
        if points and (len(own) > 2 or any(one.pointlike for one in own)):
            return Parsed(None, "unclear")
        if hedges.takes_back(self._text[own[-1].end :]):
            return Parsed(None, "cut_off" if self._cut else "conflicting")
        return last

    def _contradicts(self, statements: Sequence[_Statement], total: float) -> bool:
        """Whether the only plain score, too high for the points of a criterion, is another."""
        plain = [one.parsed.score for one in statements if one.kind == "plain"]
        return len(plain) == 1 and plain[0] is not None and plain[0] > 1 and plain[0] != total

    def _alone(self) -> Parsed | None:
        """A text that is nothing but a number, or whose last line is nothing but `4/5`."""
        before, _, line = self._text.strip().rpartition("\n")
        number = read_number(line, _after(_BETWEEN, line, 0), self._low, self._high)
        if number is None or line[number.end :].strip(_TRAILING):
            return None
        ends = len(before) + len(line) + bool(before)
        parsed = self._checked(number, ends if self._cut else 0, self._cut)
        return parsed if number.scaled or not before.strip() else None

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
            return _Statement(kind, Parsed(None, "cut_off"), self._end) if self._cut else None
        number = read_number(self._text, start, self._low, self._high)
        if number is None:
            return None
        named = bool(_SEPARATOR.search(between)) or label["result"] is not None
        return self._stated(kind, label, named, between, number)

    def _stated(
        self, kind: Kind, label: re.Match[str], named: bool, between: str, number: Number
    ) -> _Statement | None:
        """The statement that label and number make together, if they do."""
        before = self._line_before(label.start())
        sentence = _BEFORE.search(before)[0]  # type: ignore[index]
        if kind == "loose" and not self._concludes(sentence, between, named, number):
            return None
        if hedges.is_quoted(before, between, number.rest, _OWN):
            return None
        if "\n" in between and ("|" in between or not self._stands_alone(number)):
            return _Statement(kind, Parsed(None, "unclear"), number.end)
        if not label["score"] and not label["result"] and not _is_total(number):
            return None
        parsed = self._checked(number, number.end, self._cut)
        if self._cut and parsed.score is not None and self._is_tally(before, number.end):
            parsed = Parsed(None, "cut_off")
        pointlike = bool(_CRITERION.match(number.rest)) or _LISTED.match(before) is not None
        adds = kind == "final" and not label["result"] and "final" not in sentence.lower()
        return _Statement(kind, parsed, number.end, pointlike, adds)

    def _line_before(self, start: int) -> str:
        return self._text[max(0, start - 4 * _TAIL) : start].rpartition("\n")[2]

    def _kind(self, label: re.Match[str]) -> Kind | None:
        """The kind that the words before the label make it; None for one criterion's points."""
        if label["result"]:
            return "final"
        start = label.start()
        before = _BEFORE.search(self._text[max(0, start - _TAIL) : start])[0]  # type: ignore[index]
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
        """Whether `Score (...)` is about all of the response, and whether on this scale."""
        inside = qualifier["inside"] or qualifier["scale"]
        numbers = re.findall(r"\d+", inside, re.ASCII)
        words = [word.lower() for word in _WORD.findall(inside)]
        neutral = all(word in _SCALE_WORDS for word in words) and words[-1:] != ["a"]
        return neutral, not numbers or self._high in (float(numbers[-1]), float(numbers[0]))

    def _concludes(self, sentence: str, between: str, named: bool, number: Number) -> bool:
        """True when a loose statement ends the text, and means the response that is judged."""
        rest = self._text[number.end : number.end + _TAIL]
        ends = number.end + len(rest) >= self._end
        if not ends or re.fullmatch(r"\W*(?:points?|stars?)?\W*", rest, re.IGNORECASE) is None:
            return False
        words = [word.lower() for word in _WORD.findall(sentence)]
        if all(word in _NEUTRAL for word in words):
            return True
        return not hedges.is_supposed(sentence + between, named)

    def _stands_alone(self, number: Number) -> bool:
        """Whether the line beneath a label is a number, and no list begins there."""
        if _ITEM_MARK.match(number.rest) or _WORD.search(number.rest.partition("(")[0]):
            return False
        following = self._text[number.end + len(number.rest) :][:_TAIL].lstrip()
        return re.match(r"[-*•+ ]*\d", following, re.ASCII) is None

    def _is_tally(self, before: str, end: int) -> bool:
        """Whether a cut text may have gone on adding: the total of a criterion, not of all."""
        following = self._text[end : end + _TAIL]
        goes_on = re.match(rf"[^\n]*\n\s*(?:{_LISTED.pattern})", following, re.ASCII)
        return bool(_TALLY.search(before) or _LISTED.match(before) or goes_on)

    def _settled(self, end: int) -> bool:
        """True when the words behind a number show that it was written to its end."""
        rest = self._text[end : end + _TAIL]
        return len(rest) == _TAIL or re.search(r"(?:\n|[.;!]\s)\s*\S", rest) is not None

    def _checked(self, number: Number, end: int, cut: bool) -> Parsed:
        if number.fault is not None:
            return Parsed(None, number.fault)
        if cut and not self._settled(end):
            return Parsed(None, "cut_off")  # `4` may be the start of `4.5` or of `4 out of 10`
        if not self._low <= number.value <= self._high:
            return Parsed(None, "out_of_range")
        return Parsed(number.value + 0.0, "ok")


def _after(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _is_total(number: Number) -> bool:
    """False for `Total: 3 errors` and `Overall: 2 issues remain`, which count something else."""
    word = _TOTALS.match(number.rest.lstrip(" *_"))
    return number.fault is not None or word is None or word[0].lower() in _AFTER_TOTALS
