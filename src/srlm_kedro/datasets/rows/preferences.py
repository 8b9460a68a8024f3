"""Converts rows of other datasets to the form of our records.

Known forms are pairs (`prompt`, `chosen`, `rejected`), scored completions (`completions`) and chats
(`messages`). A pair is a ranking of two responses. Pairs of one prompt make one ranking if they
determine one. A table of examples takes the best response of each ranking.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from srlm_kedro.datasets.rows.dialogues import (
    BLANK,
    NO_RESPONSE,
    SEVERAL_TURNS,
    SYSTEM,
    UnusableRowError,
    conversation,
    exchange,
    is_blank,
    is_dialogue,
)

RecordKind = Literal["ranking", "example", "prompt", "other"]
"""What a record holds: ranked responses, one response, only a prompt, or nothing known here."""
RowForm = Literal["record", "pair", "completions", "messages"]
"""The form of a row; `record` is the record's own."""

EQUAL = "equal responses"
APART = "different dialogues"
CONTRADICTING = "contradicting pairs"
NO_RANKING = "no common ranking"
REPEATED = "repeated prompt"
UNSCORED = "no score"
REASONS = {
    SEVERAL_TURNS: "a prompt is one turn of a user",
    SYSTEM: "a prompt has no system message",
    NO_RESPONSE: "the last turn is not the assistant's",
    BLANK: "a response has only blanks",
    EQUAL: "nothing says which response is better",
    APART: "`chosen` and `rejected` answer different prompts",
    CONTRADICTING: "pairs of one prompt contradict each other; none of them would stay",
    NO_RANKING: "pairs of one prompt determine no ranking; only the first of them would stay",
    UNSCORED: "a completion has no score",
    REPEATED: "only the first row of the prompt would stay",
}
"""Why a well-formed row may be unusable, and what each reason means; the first one counts."""

_FIELDS: dict[RowForm, tuple[str, ...]] = {
    "pair": ("chosen", "rejected"),
    "completions": ("completions",),
    "messages": ("messages",),
}
_FORMS: dict[RecordKind, tuple[RowForm, ...]] = {
    "ranking": ("pair", "completions", "messages"),
    "example": ("pair", "completions", "messages"),
    "prompt": ("pair", "messages"),
    "other": (),
}
_MAIN_FIELD: dict[RecordKind, str] = {
    "ranking": "responses",
    "example": "response",
    "prompt": "prompt",
}
_TEXT_KEYS = ("response", "text", "content", "completion")
_SCORE_KEYS = ("overall_score", "score", "rating")


def kind_of(fields: Sequence[str]) -> RecordKind:
    """What a record of these fields holds."""
    if "prompt" not in fields:
        return "other"
    return next((kind for kind, name in _MAIN_FIELD.items() if name in fields), "other")


def further_columns(kind: RecordKind) -> list[str]:
    """The columns of other forms from which a record of this kind can be read."""
    named = [name for form in _FORMS[kind] for name in _FIELDS[form]]
    return [*named, *(["ranks"] if kind == "ranking" else [])]


def form_of(row: Mapping[str, Any], kind: RecordKind) -> RowForm:
    """The form of a row; the record's own form has precedence."""
    if kind == "other" or _MAIN_FIELD[kind] in row:
        return "record"
    forms = (form for form in _FORMS[kind] if any(name in row for name in _FIELDS[form]))
    return next(forms, "record")


def without_other_forms(row: Mapping[str, Any], form: RowForm) -> dict[str, Any]:
    """The row without the columns that repeat it in another form."""
    others = {name for other, names in _FIELDS.items() if other != form for name in names}
    return {name: value for name, value in row.items() if name not in others}


def fields_of(form: RowForm) -> tuple[str, ...]:
    """The columns that only this form has."""
    return _FIELDS.get(form, ())


def to_record_form(row: Mapping[str, Any], form: RowForm, kind: RecordKind) -> dict[str, Any]:
    """The row with `prompt`, and `responses` = [{text, rank}] or `response`; the rest unchanged.

    Raises:
        UnusableRowError: The row is of no use for one of `REASONS`.
        ValueError: The row does not have the form.
    """
    rest = {name: value for name, value in row.items() if name not in fields_of(form)}
    prompt = row.get("prompt")
    if form == "pair":
        return rest | _pair(row, prompt, kind)
    if form == "completions":
        return rest | {"responses": _ranked_by_score(row["completions"])}
    if form == "messages" and kind == "ranking":
        raise ValueError("messages: they hold one response, and a ranking needs two")
    if form == "messages":
        return rest | _from_dialogue(row["messages"], prompt, "messages", kind)
    if (
        kind == "example"
        and "response" in row
        and (is_dialogue(prompt) or is_dialogue(row["response"]))
    ):
        return rest | _from_dialogue(row["response"], prompt, "response", kind)
    return dict(row)


def with_best_response(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the best of its `responses` (the first of equals) as its `response`."""
    best = min(row["responses"], key=lambda response: response["rank"])
    return {name: row[name] for name in row if name != "responses"} | {"response": best["text"]}


def common_ranking(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """One ranking of all responses of the pairs (better, worse), in the order of the pairs.

    No pair orders two responses of the same rank. The pairs order any two responses of different
    ranks, directly or through other responses.

    Raises:
        UnusableRowError: The pairs contradict each other, or leave the order of some ranks open.
    """
    distinct = dict.fromkeys(pairs)
    texts = list(dict.fromkeys(text for pair in distinct for text in pair))
    ranks = _ranks(texts, distinct)
    if len(ranks) < len(texts):
        raise UnusableRowError(CONTRADICTING)
    sizes = Counter(ranks.values())
    steps = Counter(
        ranks[better] for better, worse in distinct if ranks[worse] == ranks[better] + 1
    )
    # All ranks are ordered if every response of a rank is better than every one of the next rank.
    if any(steps[rank] < sizes[rank] * sizes[rank + 1] for rank in range(len(sizes) - 1)):
        raise UnusableRowError(NO_RANKING)
    return [{"text": text, "rank": ranks[text]} for text in texts]


def _ranks(texts: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The length of the longest chain of better texts above each text.

    The texts of a cycle, and those below a cycle, are left out.
    """
    below: dict[str, list[str]] = {text: [] for text in texts}
    above = dict.fromkeys(texts, 0)
    for better, worse in pairs:
        below[better].append(worse)
        above[worse] += 1
    ranks: dict[str, int] = {}
    ready = [text for text in texts if not above[text]]
    for rank in range(len(texts)):
        ranks.update(dict.fromkeys(ready, rank))
        freed = Counter(worse for text in ready for worse in below[text])
        for worse, times in freed.items():
            above[worse] -= times
        ready = [worse for worse in freed if not above[worse]]
    return ranks


def _pair(row: Mapping[str, Any], prompt: Any, kind: RecordKind) -> dict[str, Any]:
    missing = [name for name in _FIELDS["pair"] if name not in row]
    if missing and kind != "prompt":
        raise ValueError(f"{missing[0]} is missing; a pair has `chosen` and `rejected`")
    dialogues = [
        conversation(prompt, row[name], name) for name in _FIELDS["pair"] if name not in missing
    ]
    exchanges = [exchange(dialogue) for dialogue in dialogues]
    if len({" ".join(one.prompt.split()) for one in exchanges}) > 1:
        raise UnusableRowError(APART)
    if kind == "prompt":
        return {"prompt": exchanges[0].prompt}
    better, worse = exchanges
    if better.response.split() == worse.response.split():
        raise UnusableRowError(EQUAL)
    texts = (better.response, worse.response)
    responses = [{"text": text, "rank": rank} for rank, text in enumerate(texts)]
    return {"prompt": better.prompt, "responses": responses}


def _from_dialogue(value: Any, prompt: Any, name: str, kind: RecordKind) -> dict[str, Any]:
    dialogue = conversation(prompt, value, name)
    if kind == "prompt":
        only_prompt = len(dialogue) == 1 and dialogue[0].role == "user"
        return {"prompt": dialogue[0].text if only_prompt else exchange(dialogue).prompt}
    found = exchange(dialogue)
    return {"prompt": found.prompt, "response": found.response}


def _ranked_by_score(completions: Any) -> list[dict[str, Any]]:
    """The responses with ranks by score: the highest has rank 0, equal scores share a rank."""
    if not isinstance(completions, list) or not all(isinstance(one, dict) for one in completions):
        raise ValueError("completions: no list of objects with a response and a score")
    texts = [_first(one, _TEXT_KEYS) for one in completions]
    scores = [_first(one, _SCORE_KEYS) for one in completions]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"completions: one has no text (as {', '.join(_TEXT_KEYS)})")
    if len(texts) < 2:
        raise UnusableRowError(NO_RESPONSE)
    if any(is_blank(text) for text in texts):
        raise UnusableRowError(BLANK)
    if not all(_is_number(score) for score in scores):
        raise UnusableRowError(UNSCORED)
    distinct = sorted(set(scores), reverse=True)
    if len(distinct) < 2:
        raise UnusableRowError(EQUAL)
    ranks = [distinct.index(score) for score in scores]
    return [{"text": text, "rank": rank} for text, rank in zip(texts, ranks, strict=True)]


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
