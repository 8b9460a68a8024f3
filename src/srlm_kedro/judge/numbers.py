r"""The number at one place of a judgement, or the reason why it is not a clear number.

The rules are applied in this order:

1. A written-out calculation is read if it adds up: `1 (relevant) + 1 (useful) = 2/5` is 2.
2. A number has digits or a name: `4`, `4.5`, `four`, `\frac{4}{5}`.
3. A total may follow the number, `4/5` or `4 out of 5`. It must be the highest score.
4. Two numbers are refused: `4-5`, `4,5`, `1 for style, 1 for use`, `4 (3)`.
5. A number in doubt is refused: `4?`, `>4`, `about 4`, `4+`, `5 if it were shorter`.

Every pattern is possessive or bounded, and only one line of bounded length is read.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

Fault = Literal["wrong_scale", "unclear", "not_ascii"]

SPACE = r"\s\u00a0\u202f\u3000\u200b\ufeff"
BLANK = r"\ \t\u00a0\u202f\u3000\u200b\ufeff"
MARK = r"*_`\"'“”‘’$|"
FLAGS = re.ASCII | re.IGNORECASE | re.VERBOSE
"""The flags of the parsers' patterns: digits and letters are ASCII."""


@dataclass(frozen=True)
class Number:
    """A number where one is expected, or its fault."""

    value: float
    """It has no meaning if there is a fault."""
    fault: Fault | None
    end: int
    """The place after the number, its total and its unit."""
    scaled: bool = False
    """True if the text names the total: `4/5`."""
    rest: str = ""
    """What follows on the same line."""


_SPELLED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NAME = rf"(?:{'|'.join(_SPELLED)})(?![A-Za-z])"
_CLOSING = rf"[{BLANK}{MARK}\])}}>]*+"
_NUMBER = re.compile(
    rf"""(?P<open><)? [{BLANK}]*+ (?P<sign>[-–−+]?) (?:
           \\[dt]?frac\{{(?P<top>\d{{1,3}})\}}\{{(?P<bottom>\d{{1,3}})\}}
         | (?P<digits>\d++(?:\.\d++)?) | (?P<name>{_NAME}) )""",
    FLAGS,
)
_VAGUE = re.compile(
    rf"""(?: [<>≤≥~≈±]=? | (?: at\ (?:least|most|best) | about | around | approximately | roughly
           | nearly | almost | maybe | perhaps | probably | possibly | up\ to | between | over
           | under | below | above | (?:more|less|higher|lower|greater)\ than )\b )
         [{BLANK}{MARK}]*+ (?> (?: an?\  )? ) (?: \d | {_NAME} )""",
    FLAGS,
)
_TOTAL = re.compile(
    rf"""{_CLOSING} (?:points?|pts)?[{BLANK}]*+ \(?
         (?: / | (?:out\ )?of (?:\ (?:a|the))? (?:\ (?:possible|total|maximum))?
                 (?:\ of)? (?![A-Za-z]) )
         [{BLANK}{MARK}]*+ (?P<total>\d++(?:\.\d++)? | [A-Za-z]++ | \S)""",
    FLAGS,
)
_UNIT = re.compile(
    rf"""{_CLOSING} (?:points?|pts|stars?)(?![A-Za-z])
         (?: [{BLANK}]*+ \(? (?:in\ total|total|overall|altogether)(?![A-Za-z]) )?""",
    FLAGS,
)
_GROUP = re.compile(r"\((?!\s*+(?:total|sum|=))[^()]*+\)|\[[^\[\]]*+\]", re.IGNORECASE)
_OPERATOR = re.compile(r"\+|(?<=[\d\s)\]])[-–−](?=\s*+\d)", re.ASCII)
_EQUALS = re.compile(r"(?:=>?|->|→|⇒|\(?\ ?\b(?:total|sum)\b)[:=\s]*+", FLAGS)
_CALCULATION = re.compile(
    rf"""[{BLANK}{MARK}(\[+]*+ (?: \d++(?:\.\d++)?(?:/\d++)? | [A-Za-z]++ )
         [^-–—−+,;:.=\n]*+ (?: \+ | [-–−][{BLANK}]*+\d )""",
    FLAGS,
)
_TERM = re.compile(r"\d++(?:\.\d++)?(?:[ ]?/[ ]?\d++)?", re.ASCII)
_OPENING = re.compile(rf"(?>(?:[{SPACE}{MARK}(\[{{]|\\boxed|\\text)*)")
_SECOND = re.compile(
    rf"""(?> (?: [{BLANK}]*+ \([^()\n]{{0,80}}+\) )? ) {_CLOSING}
         (?P<sign> [-–—−~/／+*=,;&±⁄∕] | :(?=\d) | -> | → | => | to\b | or\b | and\b )
         {_CLOSING} [\[(<+]? (?: (?P<other>\d++) | {_NAME} )""",
    FLAGS,
)
_CELL = re.compile(rf"[^|\n]{{0,60}}+\|[{BLANK}{MARK}]*+[\d]", FLAGS)
_ASIDE = re.compile(rf"{_CLOSING}\(\ ?(?P<value>\d++(?:\.\d++)?|{_NAME})\ ?\)", FLAGS)
_DOUBT = re.compile(
    rf"""{_CLOSING} (?: \d | and\ an?\ | [.…]*+ [{BLANK}]*+ \(?\?
         | [+-](?=[{BLANK}{MARK}]*+(?:\Z|[.,;]))
         | [,(—–-]?[{BLANK}]*+ (?: is | was | would | could | might | may | should | means?
             | requires? | needs? | if | unless | when | only | maybe | perhaps | possibly | or
             | minus | plus | at | to | tentativ\w* | provisional\w* | approx\w* | rounded
             | borderline | estimated | up\ to | half | goals? | runs? | wins? | errors? | issues?
             | mistakes? )(?![A-Za-z]) )""",
    FLAGS,
)
_SHARE = re.compile(
    rf"""{_CLOSING}(?:for|in|on|under)\b (?!\ (?:total|all|my|this|lack)\b)
         (?P<more>[^.\n]{{0,120}}+)""",
    FLAGS,
)
_LINE = 300


def read_number(text: str, position: int, low: float, high: float) -> Number | None:
    """The number that begins at `position`; None if there is no number that could be a score.

    Args:
        text: The whole judgement.
        position: Where the number is expected.
        low: Lowest score. `0-5` is the scale itself and no score.
        high: Highest score, and the only total that the text may name.
    """
    line = text[position : position + _LINE].partition("\n")[0]
    if line[:1] and is_foreign_digit(line[0]):
        return Number(0, "not_ascii", position + 1)
    number = _calculated(line, low, high) or _plain(line, 0, low, high)
    return number and replace(number, end=position + number.end)


def is_foreign_digit(character: str) -> bool:
    """Whether a character is a digit of another script, or one such as `½`."""
    return character.isnumeric() and not character.isascii()


def _calculated(line: str, low: float, high: float) -> Number | None:
    """The result of a calculation, `unclear` if it is missing or wrong; None for other text."""
    if not _OPERATOR.search(line):
        return None
    flat = _flat(line)
    if not _CALCULATION.match(flat):
        return None
    equals = _EQUALS.search(flat)
    if equals is None:
        # Prose may hold a plus: only numbers are added.
        return Number(0, "unclear", len(line)) if flat.lstrip(" *_`(+")[:1].isdigit() else None
    found = _plain(line, _OPENING.match(line, equals.end()).end(), low, high)  # type: ignore[union-attr]
    total = _sum(line[: equals.start()], flat[: equals.start()])
    if found is None or total is None:
        return Number(0, "unclear", len(line))
    wrong = found.fault is None and abs(found.value - total) > 1e-9
    return replace(found, fault="unclear") if wrong else found


def _flat(line: str) -> str:
    """The line with blanks instead of brackets and what is in them."""
    return _GROUP.sub(lambda group: " " * len(group[0]), line)


def _sum(written: str, flat: str) -> float | None:
    """The sum of terms with one number each; a number in brackets counts if there is no other."""
    total, start = 0.0, 0
    ends = [*_OPERATOR.finditer(flat), None]
    sign = 1
    for operator in ends:
        end = operator.start() if operator else len(flat)
        found = _TERM.findall(flat[start:end]) or _TERM.findall(written[start:end])
        if len(found) > 1 or (not found and (start or written[start:end].strip(" *_`$([{"))):
            return None
        total += sign * float(found[0].partition("/")[0]) if found else 0
        if operator:
            start, sign = operator.end(), 1 if operator[0] == "+" else -1
    return total


def _plain(line: str, start: int, low: float, high: float) -> Number | None:
    """A single number with its total and its unit, and the fault that the text after it shows."""
    found = _NUMBER.match(line, start)
    if found is None:
        vague = _VAGUE.match(line, start)
        return Number(0, "unclear", vague.end()) if vague else None
    tail = line[found.end() :]
    if _is_label(tail):
        return None
    value = _value(found)
    total = _TOTAL.match(tail)
    length = total.end() if total else 0
    if unit := _UNIT.match(tail, length):
        length = unit.end()
    rest = tail[length:]
    second = _SECOND.match(tail, total.end() if total else 0) or _SECOND.match(rest)
    if second and second["other"] and (value, float(second["other"])) == (low, high):
        return None  # the scale itself, `0-5`
    fault = _scale_fault(found, tail, total, high)
    if fault is None and _is_doubtful(found, line, rest, second, total):
        fault = "unclear"
    scaled = total is not None or found["bottom"] is not None
    return Number(value, fault, found.end() + length, scaled, rest)


def _value(found: re.Match[str]) -> float:
    name = found["name"]
    size = _SPELLED.index(name.lower()) if name else float(found["top"] or found["digits"])
    return -size if found["sign"] in ("-", "–", "−") else size


def _scale_fault(
    found: re.Match[str], tail: str, total: re.Match[str] | None, high: float
) -> Fault | None:
    """What is wrong right after the digits, or with the total; None if nothing is."""
    if is_foreign_digit(tail[:1]) or (total and is_foreign_digit(total["total"])):
        return "not_ascii"
    if re.match(r"\.\d|(?!p(?:oin)?ts?\b|stars?\b)[A-Za-z]", tail, FLAGS):
        return "unclear"
    if re.match(r"\s*[%％]", tail):
        return "wrong_scale"
    named = total["total"] if total else found["bottom"]
    return None if named is None or _as_number(named) == high else "wrong_scale"


def _is_doubtful(
    found: re.Match[str], line: str, rest: str, second: re.Match[str] | None, total: object
) -> bool:
    """Whether a second number follows, or words that make the number uncertain."""
    value = _value(found)
    if second and not (second["sign"] == "=" and (total or _restates(value, rest))):
        return True
    if found["open"] and not re.match(r"[^>\n]{0,20}+>", line[found.end() - 1 :]):
        return True
    if found["sign"] == "+" and rest.strip(" \t*_`.$)]}>\"'"):
        return True  # `+1 for style` is a point
    aside = _ASIDE.match(rest)
    if aside and _as_number(aside["value"]) != value:
        return True
    if found["name"] and not total and re.match(r"[ \t]+[A-Za-z]", rest):
        return True  # `one thing is missing`
    share = _SHARE.match(rest)
    if share and ((value <= 1 and not total) or re.search(r"\d", share["more"], re.ASCII)):
        return True
    return bool(_DOUBT.match(rest) or _CELL.match(rest))


def _restates(value: float, rest: str) -> bool:
    """Whether the text after a number says it again: `3 = 1 + 1 + 1`, or `3 = 3`."""
    written = rest.lstrip(" \t*_`$").removeprefix("=").rstrip(" \t*_`$.)]}")
    return _sum(written, _flat(written)) == value


def _is_label(tail: str) -> bool:
    """Whether the number is part of a name: `Score 5: impeccable`, `1 point: it is apt`."""
    return re.match(r"-[A-Za-z]|\s*(?:points?|pts?)?\s*:\s*[*_]*[A-Za-z]", tail, re.I) is not None


def _as_number(written: str) -> float | None:
    """The value of digits or of a number's name; None for other words."""
    if written.lower() in _SPELLED:
        return _SPELLED.index(written.lower())
    try:
        return float(written)
    except ValueError:
        return None
