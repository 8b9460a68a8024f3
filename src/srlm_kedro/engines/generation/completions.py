"""From sampled tokens to a completion: its text, its answer, its length, and how it ended."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

from srlm_kedro.engines import chat, thoughts
from srlm_kedro.engines.generation.base import Completion, Request, text_before

_MARKS: "WeakKeyDictionary[Any, dict[int, str]]" = WeakKeyDictionary()
"""For each tokenizer, its special tokens that are marks of thoughts."""


def opened_thoughts(tokenizer: Any, requests: Sequence[Request]) -> list[str]:
    """The thought in which each request's completion begins; empty for raw texts."""
    if not any(request.chat for request in requests):
        return [""] * len(requests)
    opened = chat.opened_thought(tokenizer)
    return [opened if request.chat else "" for request in requests]


def read_completion(
    tokenizer: Any, ids: Sequence[int], ended: bool, stop: Sequence[str], opened: str = ""
) -> Completion:
    """The completion that a row of sampled tokens holds.

    Args:
        tokenizer: The model's.
        ids: Tokens that were sampled, the end token included.
        ended: Whether an end token, or a stop string, ended them.
        stop: The answer ends before the first of these strings.
        opened: The thought in which the row began, as the chat template wrote it.
    """
    text = decode(tokenizer, ids)
    thought, whole = thoughts.split(opened + text, cut=not ended, whole=True)
    answer = text_before(stop, whole)
    before = _tokens_within(tokenizer, ids, len(thought) - len(opened)) if thought else 0
    return Completion(
        text=answer,
        tokens=len(ids) - before,
        finish="stop" if ended or len(answer) < len(whole) else "length",
        thought=thought,
        drawn=len(ids),
    )


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled tokens, without special tokens and without tidying.

    Special tokens that separate a thought from an answer stay.
    """
    marks = _special_marks(tokenizer)
    if marks.keys().isdisjoint(ids):
        return _plain_text(tokenizer, ids)
    runs = groupby(ids, key=marks.get)
    return "".join(
        mark * len(list(run)) if mark else _plain_text(tokenizer, list(run)) for mark, run in runs
    )


class StopStrings:
    """Finds out whether a row's answer has reached a stop string; a thought may hold any.

    Only a token that can hold a stop string's last character can complete one. So a row is decoded
    only after such tokens.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], opened: Sequence[str] = ()):
        """Sets the strings.

        Args:
            tokenizer: The model's.
            stop: The strings; without any, no row stops.
            opened: The thought in which each request's rows begin; without any, none does.
        """
        self._tokenizer = tokenizer
        self._opened = opened
        self._stop = tuple(stop)
        self._completing = self._completing_tokens() if stop else frozenset()

    def reached(self, ids: list[int], request: int = 0) -> bool:
        """Whether the sampled tokens hold a stop string that their last token may complete."""
        return ids[-1] in self._completing and self._in_answer(ids, request)

    def _in_answer(self, ids: list[int], request: int) -> bool:
        opened = self._opened[request] if self._opened else ""
        # The row still grows, so its end may be inside a thought.
        answer = thoughts.split(opened + decode(self._tokenizer, ids), cut=True, whole=True)[1]
        return any(string in answer for string in self._stop)

    def _completing_tokens(self) -> frozenset[int]:
        """Tokens whose text holds a stop string's last character, or does not show all it holds."""
        every = range(len(self._tokenizer))
        last = {string[-1] for string in self._stop}
        if " " in last:
            # Many decoders drop the space at a text's start, so a single token does not show it.
            return frozenset(every)
        # A single piece of a multi-byte character decodes to the replacement character.
        last.add("\ufffd")
        return frozenset(i for i in every if last & set(decode(self._tokenizer, [i])))


def _tokens_within(tokenizer: Any, ids: Sequence[int], characters: int) -> int:
    """How many tokens are within so many characters; one that goes beyond belongs to the answer."""
    counts = range(len(ids) + 1)
    written = bisect_right(
        counts, characters, key=lambda count: len(decode(tokenizer, ids[:count]))
    )
    return max(written - 1, 0)


def _plain_text(tokenizer: Any, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _special_marks(tokenizer: Any) -> Mapping[int, str]:
    """The special tokens that are marks of thoughts; each tokenizer is searched once."""
    if tokenizer not in _MARKS:
        _MARKS[tokenizer] = {
            number: token.content
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special and token.content in thoughts.MARKS
        }
    return _MARKS[tokenizer]
