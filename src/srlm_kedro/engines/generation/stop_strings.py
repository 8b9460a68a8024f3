"""When a row ends: end tokens, and stop strings that may span tokens."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

from srlm_kedro.engines import thoughts

_KEPT: "WeakKeyDictionary[Any, dict[int, str]]" = WeakKeyDictionary()


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of drawn tokens, special tokens taken off and nothing tidied.

    Those that tell a thought from an answer stay: without them the two would be one text.
    """
    kept = _special_marks(tokenizer)
    if kept.keys().isdisjoint(ids):
        return _plain(tokenizer, ids)
    runs = groupby(ids, key=kept.get)
    return "".join(
        mark * len(list(run)) if mark else _plain(tokenizer, list(run)) for mark, run in runs
    )


def cut(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of the stop strings; whole when none occurs."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else text


class StopStrings:
    """Tells which rows' answer has reached a stop string; a thought may hold any.

    Only a token that can hold a stop string's last character can complete one, so a row is
    decoded after such tokens alone.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], opened: Sequence[str] = ()):
        """Names the strings; an empty sequence stops nothing.

        `opened` holds the thought in which each request's rows begin; without any none does.
        """
        self._tokenizer = tokenizer
        self._opened = opened
        self._stop = tuple(stop)
        self._enders = self._completing_tokens() if stop else frozenset()

    def reached(self, ids: list[int], request: int = 0) -> bool:
        """Whether the drawn tokens hold a stop string, which the last of them may complete."""
        return ids[-1] in self._enders and self._holds(ids, request)

    def _holds(self, ids: list[int], request: int) -> bool:
        opened = self._opened[request] if self._opened else ""
        # What is still growing may be a thought that goes on.
        answer = thoughts.split(opened + decode(self._tokenizer, ids), cut=True, whole=True)[1]
        return any(string in answer for string in self._stop)

    def _completing_tokens(self) -> frozenset[int]:
        """Tokens whose own text holds a stop string's last character, or hides what it holds."""
        every = range(len(self._tokenizer))
        last = {string[-1] for string in self._stop}
        if " " in last:
            # Many decoders drop the space at a text's start, so a lone token does not show it.
            return frozenset(every)
        # A lone piece of a multi-byte character decodes to the replacement character.
        last.add("\ufffd")
        return frozenset(i for i in every if last & set(decode(self._tokenizer, [i])))


def _plain(tokenizer: Any, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _special_marks(tokenizer: Any) -> Mapping[int, str]:
    """The special tokens that are marks of thoughts, looked up once a tokenizer."""
    if tokenizer not in _KEPT:
        _KEPT[tokenizer] = {
            number: token.content
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special and token.content in thoughts.MARKS
        }
    return _KEPT[tokenizer]
