"""The score with which a judgement concludes, or the reason why there is none.

There are four kinds of statement. The strongest kind in a text decides its score:

1. revised: `Revised score: 4`. It says itself that earlier scores no longer count.
2. final: `Total score: 4`, `Final score: 4`, `Overall: 4/5`, `[RESULT] 4`, `| **Total** | 4 |`.
3. plain: `Score: 4`, `**Score:** [4/5]`, `Score = four`, a heading `Score` with 4 below it.
4. loose: `I give it a score of 4.`, and only as the very last words.

A refused judgement can be asked for again. A wrong number would never be noticed. So a judgement in
doubt is refused:

- Statements of one kind that differ are refused, because nobody knows which one the judge meant.
  This includes a later statement that does not say that it corrects the earlier one. A careful
  reader of `Score: 3` and then `Score: 4` cannot tell a correction from a slip, a quotation or the
  points for a criterion, so such a text is refused.
- A statement is refused if a statement of another kind contradicts it later, or if words withdraw
  it (`Wait, ...`). A judge that copies `Total score: 5` from a response means its own `Score: 1`.
- In a text that the engine cut, a number may go on, and a running tally is no score.

`statements` finds the statements of a text.
"""

import functools
import json
import re
from collections.abc import Sequence
from typing import get_args

from srlm_kedro.engines import thoughts
from srlm_kedro.judge import hedges
from srlm_kedro.judge.statements import Finish, Kind, Parsed, Reason, Statement, StatementReader

READS_AGAIN = True
"""See `srlm_kedro.freshness.provenance`: judgements are kept raw."""

REASONS: tuple[Reason, ...] = get_args(Reason)
_KINDS: tuple[Kind, ...] = get_args(Kind)
_IMPROVED = re.compile(
    r"\b(?:improved|suggested|rewritten|revised|better|updated)\s+"
    r"(?:answer|response|version|revision)\b",
    re.IGNORECASE | re.ASCII,
)
_FENCE = re.compile(r"\s*```(?:json)?\s*(\{.*\})\s*```\s*\Z", re.DOTALL | re.IGNORECASE)
_KEY = re.compile(
    r"(?:(?:total|final|overall)[ _-]?)?(?:score|rating|grade)|total(?:[ _-]points)?|overall",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=2**16)  # every text is read twice: when drawn, and for its reward
def parse_score(text: str, finish: Finish = "stop", low: float = 0, high: float = 5) -> Parsed:
    """The score with which a completion of the judge concludes; None whenever it is in doubt.

    Paper: section 2.2, the judge ends with `Score: <total points>`.

    Args:
        text: Only the completion. The prompt's own rubric holds numbers too: never pass it.
        finish: `length` if the engine cut the text. A number that could still go on is then no
            score.
        low: Lowest score allowed.
        high: Highest score allowed; `4/5` is read only if the total is `high`.
    """
    cut = finish == "length"
    text = thoughts.split(text, cut)[1]
    if (fields := _json_scores(text)) is not None:
        text = "\n".join(f"{name}: {value}" for name, value in fields)
    parsed = _conclusion(text, finish, low, high)
    return Parsed(None, "cut_off") if cut and parsed.reason == "no_score" else parsed


def _conclusion(text: str, finish: Finish, low: float, high: float) -> Parsed:
    """What the strongest kind of statement in the text says."""
    reader = StatementReader(text, finish, low, high)
    statements, bare = reader.statements(), reader.bare_number()
    for kind in _KINDS:
        if outcome := _read_kind(kind, statements, text, finish == "length"):
            disputed = outcome.score is not None and bare not in (None, outcome)
            return Parsed(None, "conflicting") if disputed else outcome
    return bare or Parsed(None, "no_score")


def _read_kind(kind: Kind, statements: Sequence[Statement], text: str, cut: bool) -> Parsed | None:
    """What the statements of one kind say together; None if there are none of this kind."""
    same = [one for one in statements if one.kind == kind]
    if not same:
        return None
    last = same[-1].parsed
    if last.reason == "cut_off":
        return last
    later = [one.parsed for one in statements if one.end > same[-1].end]
    if {one.parsed for one in same} | set(later) != {last}:
        return Parsed(None, "conflicting")
    if last.score is None:
        return last
    if kind == "revised" and _IMPROVED.search(text):
        return Parsed(None, "conflicting")  # of a response that the judge wrote itself
    if same[-1].is_sum and _contradicts(statements, last.score):
        return Parsed(None, "conflicting")
    # `Score: 1` after each criterion, and no total: points, not a score.
    points = last.score <= 1 and len(same) > 1
    if points and (len(same) > 2 or any(one.may_be_points for one in same)):
        return Parsed(None, "unclear")
    if hedges.takes_back(text[same[-1].end :]):
        return Parsed(None, "cut_off" if cut else "conflicting")
    return last


def _contradicts(statements: Sequence[Statement], total: float) -> bool:
    """Whether the only plain score differs from the total and is too high to be points."""
    plain = [one.parsed.score for one in statements if one.kind == "plain"]
    return len(plain) == 1 and plain[0] is not None and plain[0] > 1 and plain[0] != total


def _json_scores(text: str) -> Sequence[tuple[str, str]] | None:
    """Label and value of each field that states a score; None if the text is no JSON object.

    Only fields of the object itself count. Fields of nested objects are points for a criterion.
    """
    if not text.rstrip("` \n\t").endswith("}"):
        return None
    fenced = _FENCE.match(text)
    try:
        found = json.loads(fenced[1] if fenced else text, object_pairs_hook=list, parse_float=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(one, tuple) for one in found):
        return None
    return [
        (name.replace("_", " "), _field_text(value))
        for name, value in found
        if _KEY.fullmatch(name)
    ]


def _field_text(value: object) -> str:
    """The field's value as text; `?` for a list or an object, which is no score."""
    return str(value).replace("\n", " ") if isinstance(value, str | int | float) else "?"
