"""Why judgements are of no use, and what to do about it: the words that all gates share."""

from collections.abc import Mapping

import pandas as pd

from srlm_kedro.errors import counted
from srlm_kedro.judge import parsing

UNPARSED = tuple(reason for reason in parsing.REASONS if reason != "ok")
"""Why a judgement has no score, as the metrics `unparsed_...` name it."""
UNANSWERED = ("no_criteria", "no_answer")
"""Why a judgement by criteria has no score although there was room for it."""
MEANINGS = {
    "no_room": "the filled judge prompt left no room for them",
    "no_criteria": "the judge knows no criterion for their prompts",
    "no_answer": "neither answer to a criterion is among the judge's likeliest tokens",
    "cut_off": "the token limit ended them before their score",
    "no_score": "they state none",
    "out_of_range": "their score is below 0 or above 5",
    "conflicting": "they state several scores, or take their own back",
    "wrong_scale": "they score on another scale, such as 8/10",
    "unclear": "they state no single number",
    "not_ascii": "their score has digits of another script",
    "bare": "they are a score without a justification",
    "runs_on": "the token limit ended them after their score",
    "disagreeing": "their score is not in the order of the human ranks",
    "duplicate": "another judgement of the response has the same text",
    "thinned": "they have the commonest score",
    "unbalanced": "the other answer to such criteria is rarer, or `eft.per_answer` is reached",
}
_CUT = ("cut_off", "runs_on")
_ELSEWHERE = ("no_room", *UNANSWERED)
"""Reasons with an advice of their own, besides `_CUT`."""
_LEARN_WORDS = (
    "A model that cannot follow the rubric learns it from people's ranks (`loop.eft: ranking`), or "
    "is asked for one point of the rubric at a time (`loop.judge_form: criteria`); or take a model "
    "that follows instructions better."
)
_LEARN_CRITERIA = (
    "A judge that answers the criteria wrongly learns the answers from labelled seed data "
    "(`loop.eft: labels`); or take a model that follows instructions better."
)


def reasons_of(judgements: pd.DataFrame) -> pd.Series:
    """Why each judgement has no score; `ok` if it has one, `no_room` if it was not drawn.

    A judge that is asked by criteria has `no_criteria` or `no_answer` instead of `no_score`.

    Args:
        judgements: `reason` and `finish`, and `criteria` if the judge was asked by criteria.
    """
    reasons = judgements["reason"].mask(judgements["finish"] == "no_room", "no_room")
    if "criteria" not in judgements:
        return reasons
    asked = judgements["criteria"].map(len) > 0
    reasons = reasons.mask(asked & (reasons == "no_score"), "no_answer")
    return reasons.where(asked, "no_criteria")


def fault_of(reason: str, text: str, finish: str, min_words: int) -> str:
    """Why a judgement cannot be an example of how to judge, whatever its score; `ok` if it can.

    Args:
        reason: Why it has no score, or `ok`.
        text: The judgement.
        finish: How it ended.
        min_words: One of fewer words is only a score.
    """
    if finish == "no_room" or reason != "ok":
        return "no_room" if finish == "no_room" else reason
    if len(text.split()) < min_words:
        return "bare"
    # A judgement that was cut would teach the model not to end.
    return "runs_on" if finish == "length" else "ok"


def in_words(reasons: Mapping[str, int]) -> str:
    """How many judgements are of no use, by reason: `20 cut_off (the token limit ...), ...`."""
    return counted(reasons, MEANINGS)


def advice(
    reasons: Mapping[str, int], sampling: str, max_new_tokens: int, by_criteria: bool = False
) -> str:
    """What helps, as sentences: first the token limit if it ended judgements, then the judge.

    Args:
        reasons: The number of judgements by reason.
        sampling: The parameter of the judgements' sampling, such as `judging.sampling`.
        max_new_tokens: Its limit.
        by_criteria: Whether the judge was asked by criteria. Then each answer is one token.
    """
    cut = sum(reasons.get(name, 0) for name in _CUT)
    limit = f"`{sampling}.max_new_tokens` (now {max_new_tokens})"
    parts = [f"Raise {limit}: it ended {cut} of them."] if cut else []
    if reasons.get("no_room"):
        shorten = "shorten the longest texts."
        parts.append(shorten.capitalize() if by_criteria else f"Lower {limit}, or {shorten}")
    if reasons.get("no_criteria"):
        parts.append(
            "List criteria that fit every prompt in the catalog's `criteria_prompt`, or use "
            "prompts that its rubric reads."
        )
    if reasons.get("no_answer"):
        parts.append(
            "Spell the answers in the catalog's `criteria_prompt` as the judge begins them, or let "
            "it learn to answer (`loop.eft: labels`)."
        )
    if sum(reasons.values()) > cut + sum(reasons.get(name, 0) for name in _ELSEWHERE):
        parts.append(_LEARN_CRITERIA if by_criteria else _LEARN_WORDS)
    return " ".join(parts)
