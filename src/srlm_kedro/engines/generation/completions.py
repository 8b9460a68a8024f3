"""From drawn tokens to a completion: what is its answer, how long that is, and how it ended."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from srlm_kedro.engines import chat, thoughts
from srlm_kedro.engines.generation.base import Completion, Request
from srlm_kedro.engines.generation.stop_strings import cut, decode


def opened_thoughts(tokenizer: Any, requests: Sequence[Request]) -> list[str]:
    """The thought in which each request's completion begins; empty for raw texts."""
    if not any(request.chat for request in requests):
        return [""] * len(requests)
    opened = chat.opened_thought(tokenizer)
    return [opened if request.chat else "" for request in requests]


def read_answer(
    tokenizer: Any, ids: Sequence[int], ended: bool, stop: Sequence[str], opened: str = ""
) -> Completion:
    """The completion of one row.

    Args:
        tokenizer: The model's.
        ids: Tokens drawn, the end token included.
        ended: Whether an end token, or a stop string, ended them.
        stop: Strings before the first of which the answer ends.
        opened: The thought in which it began, as the chat template wrote it.
    """
    drawn = decode(tokenizer, ids)
    thought, whole = thoughts.split(opened + drawn, cut=not ended, whole=True)
    text = cut(whole, stop)
    before = _tokens_before(tokenizer, ids, len(thought) - len(opened)) if thought else 0
    return Completion(
        text=text,
        tokens=len(ids) - before,
        finish="stop" if ended or len(text) < len(whole) else "length",
        thought=thought,
        drawn=len(ids),
    )


def _tokens_before(tokenizer: Any, ids: Sequence[int], characters: int) -> int:
    """How many tokens stand within so many characters; one that goes beyond is the answer's."""
    counts = range(len(ids) + 1)
    written = bisect_right(
        counts, characters, key=lambda count: len(decode(tokenizer, ids[:count]))
    )
    return max(written - 1, 0)
