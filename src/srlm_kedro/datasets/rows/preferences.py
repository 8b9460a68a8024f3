"""Rows of other people's forms, as the records of seed data have them.

Known are pairs (`prompt`, `chosen`, `rejected`), scored completions (`completions`) and chats
(`messages`). A pair is a ranking of two responses; pairs of one prompt make one ranking where they
tell one. A table of examples takes the best response of each.
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
    Exchange,
    UnfitError,
    conversation,
    exchange,
    is_blank,
    is_dialogue,
)

Kind = Literal["ranking", "example", "prompt", "other"]
"""What a record asks for: ranked responses, one response, a prompt alone, or nothing known here."""
Form = Literal["own", "pair", "completions", "messages"]

EQUAL = "equal responses"
APART = "different dialogues"
CONTRADICTING = "contradicting pairs"
NO_RANKING = "no common ranking"
REPEATED = "repeated prompt"
UNSCORED = "no score"
REASONS = {
    SEVERAL_TURNS: "a prompt is one turn of a user",
    SYSTEM: "a prompt comes without one",
    NO_RESPONSE: "the assistant does not have the last word",
    BLANK: "a response holds nothing but blanks",
    EQUAL: "nothing tells the better from the worse",
    APART: "`chosen` and `rejected` answer different prompts",
    CONTRADICTING: "pairs of one prompt go in a circle; none of them would stay",
    NO_RANKING: "pairs of one prompt leave the order of others open; the first of them would stay",
    UNSCORED: "a completion has none",
    REPEATED: "the first row of the prompt would stay",
}
"""Why a row that is sound may be of no use, and what that means; the first that holds is told."""

_FIELDS: dict[Form, tuple[str, ...]] = {
    "pair": ("chosen", "rejected"),
    "completions": ("completions",),
    "messages": ("messages",),
}
_FORMS: dict[Kind, tuple[Form, ...]] = {
    "ranking": ("pair", "completions", "messages"),
    "example": ("pair", "completions", "messages"),
    "prompt": ("pair", "messages"),
    "other": (),
}
_OWN: dict[Kind, str] = {"ranking": "responses", "example": "response", "prompt": "prompt"}
_TEXT_KEYS = ("response", "text", "content", "completion")
_SCORE_KEYS = ("overall_score", "score", "rating")


def kind_of(fields: Sequence[str]) -> Kind:
    """What a record of these fields asks for."""
    if "prompt" not in fields:
        return "other"
    return next((kind for kind, name in _OWN.items() if name in fields), "other")


def further_columns(kind: Kind) -> list[str]:
    """Columns that may stand in place of the record's own."""
    named = [name for form in _FORMS[kind] for name in _FIELDS[form]]
    return [*named, *(["ranks"] if kind == "ranking" else [])]


def form_of(row: Mapping[str, Any], kind: Kind) -> Form:
    """In which form a row is given; the record's own goes before the others."""
    if kind == "other" or _OWN[kind] in row:
        return "own"
    forms = (form for form in _FORMS[kind] if any(name in row for name in _FIELDS[form]))
    return next(forms, "own")


def without_other_forms(row: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """The row without columns in which it is given once more, in another form."""
    others = {name for other, names in _FIELDS.items() if other != form for name in names}
    return {name: value for name, value in row.items() if name not in others}


def fields_of(form: Form) -> tuple[str, ...]:
    """The columns in which a form differs from the record's own."""
    return _FIELDS.get(form, ())


def as_own(row: Mapping[str, Any], form: Form, kind: Kind) -> dict[str, Any]:
    """The row with `prompt`, and `responses` = [{text, rank}] or `response`; the rest as it is.

    Raises:
        UnfitError: It is of no use for one of `REASONS`.
        ValueError: It does not have the form.
    """
    rest = {name: value for name, value in row.items() if name not in fields_of(form)}
    prompt = row.get("prompt")
    if form == "pair":
        return rest | _pair(row, prompt, kind)
    if form == "completions":
        return rest | {"responses": _scored(row["completions"])}
    if form == "messages" and kind == "ranking":
        raise ValueError("messages: they hold one response, and a ranking needs two")
    if form == "messages":
        return rest | _told(row["messages"], prompt, "messages", kind)
    if (
        kind == "example"
        and "response" in row
        and (is_dialogue(prompt) or is_dialogue(row["response"]))
    ):
        return rest | _told(row["response"], prompt, "response", kind)
    return dict(row)


def best_alone(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the best of its `responses`, the first of equals, as its `response`."""
    best = min(row["responses"], key=lambda response: response["rank"])
    return {name: row[name] for name in row if name != "responses"} | {"response": best["text"]}


def common_ranking(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """One ranking of all responses of the pairs (better, worse), in the order they come in.

    Responses of one rank are those of which no pair says which is better. Two of different ranks
    are ordered by the pairs, at one or more removes.

    Raises:
        UnfitError: The pairs contradict each other, or leave the order of some ranks open.
    """
    told = dict.fromkeys(pairs)
    texts = list(dict.fromkeys(text for pair in told for text in pair))
    ranks = _ranks(texts, told)
    if len(ranks) < len(texts):
        raise UnfitError(CONTRADICTING)
    sizes = Counter(ranks.values())
    steps = Counter(ranks[better] for better, worse in told if ranks[worse] == ranks[better] + 1)
    # Where each of a rank is better than each of the next one, all ranks are ordered.
    if any(steps[rank] < sizes[rank] * sizes[rank + 1] for rank in range(len(sizes) - 1)):
        raise UnfitError(NO_RANKING)
    return [{"text": text, "rank": ranks[text]} for text in texts]


def _ranks(texts: Sequence[str], told: Iterable[tuple[str, str]]) -> dict[str, int]:
    """How many steps, at most, lead down to each text; those of a circle and below have none."""
    below: dict[str, list[str]] = {text: [] for text in texts}
    above = dict.fromkeys(texts, 0)
    for better, worse in told:
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


def _pair(row: Mapping[str, Any], prompt: Any, kind: Kind) -> dict[str, Any]:
    missing = [name for name in _FIELDS["pair"] if name not in row]
    if missing and kind != "prompt":
        raise ValueError(f"{missing[0]}: nothing there; a pair has `chosen` and `rejected`")
    dialogues = [
        conversation(prompt, row[name], name) for name in _FIELDS["pair"] if name not in missing
    ]
    exchanges = [exchange(dialogue) for dialogue in dialogues]
    if len({" ".join(one.prompt.split()) for one in exchanges}) > 1:
        raise UnfitError(APART)
    if kind == "prompt":
        return {"prompt": exchanges[0].prompt}
    better, worse = exchanges
    if better.response.split() == worse.response.split():
        raise UnfitError(EQUAL)
    texts = (better.response, worse.response)
    responses = [{"text": text, "rank": rank} for rank, text in enumerate(texts)]
    return {"prompt": better.prompt, "responses": responses}


def _told(value: Any, prompt: Any, name: str, kind: Kind) -> dict[str, Any]:
    told = conversation(prompt, value, name)
    if kind == "prompt":
        alone = len(told) == 1 and told[0].role == "user"
        return {"prompt": told[0].text if alone else exchange(told).prompt}
    found: Exchange = exchange(told)
    return {"prompt": found.prompt, "response": found.response}


def _scored(completions: Any) -> list[dict[str, Any]]:
    """Responses with the rank that their scores give them: the highest is 0, equals share one."""
    if not isinstance(completions, list) or not all(isinstance(one, dict) for one in completions):
        raise ValueError("completions: no list of objects with a response and a score")
    texts = [_first(one, _TEXT_KEYS) for one in completions]
    scores = [_first(one, _SCORE_KEYS) for one in completions]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"completions: one has no text (as {', '.join(_TEXT_KEYS)})")
    if len(texts) < 2:
        raise UnfitError(NO_RESPONSE)
    if any(is_blank(text) for text in texts):
        raise UnfitError(BLANK)
    if not all(_is_number(score) for score in scores):
        raise UnfitError(UNSCORED)
    heights = sorted(set(scores), reverse=True)
    if len(heights) < 2:
        raise UnfitError(EQUAL)
    ranks = [heights.index(score) for score in scores]
    return [{"text": text, "rank": rank} for text, rank in zip(texts, ranks, strict=True)]


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
