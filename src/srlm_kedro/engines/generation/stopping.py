"""When a row ends: end tokens, and stop strings that may span tokens."""

from collections.abc import Sequence
from typing import Any


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of drawn tokens, special tokens taken off and nothing tidied."""
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def cut(text: str, stop: Sequence[str]) -> str:
    """`text` up to the first of the stop strings; whole when none occurs."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else text


class StopStrings:
    """Tells which rows' text has reached a stop string.

    Only a token that can hold a stop string's last character can complete one, so a row is
    decoded after such tokens alone.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]):
        """Names the strings; an empty sequence stops nothing."""
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._enders = self._completing_tokens() if stop else frozenset()

    def reached(self, ids: list[int]) -> bool:
        """Whether the drawn tokens hold a stop string, which the last of them may complete."""
        return ids[-1] in self._enders and self._holds(ids)

    def _holds(self, ids: list[int]) -> bool:
        text = decode(self._tokenizer, ids)
        return any(string in text for string in self._stop)

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
