"""The most probable first tokens of a server's answer, and how probable they make named answers."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from srlm_kedro.engines.generation.base import Choices
from srlm_kedro.engines.generation.choices import log_of_sum
from srlm_kedro.engines.generation.servers.replies import Failure, Reply, Usage, spent

Top = Sequence[tuple[str, float]]
"""Texts of tokens, and the natural logarithms of their probabilities."""
_MARKERS = " \t\r\n\u2581\u0120\u010a"
"""White space before a word, also as the pieces of tokenizers write it."""
_NONE = (
    "the answer holds no log-probabilities (`logprobs`). Take a server that returns them, or the "
    "worded form of judging"
)


_Logarithm = Annotated[float, Field(lt=1, allow_inf_nan=False)]
"""Rounding may lift it above 0."""


class _Token(BaseModel):
    token: str
    logprob: _Logarithm


class _Place(BaseModel):
    top_logprobs: list[_Token] = []


class _Logprobs(BaseModel):
    content: list[_Place] | None = None
    """What chats have."""
    top_logprobs: list[Mapping[str, _Logarithm] | None] | None = None
    """What completions of raw texts have."""

    def first(self) -> list[tuple[str, float]]:
        """The tokens at the first place; none if the answer ended before it."""
        if self.content:
            return [(each.token, each.logprob) for each in self.content[0].top_logprobs]
        return list((self.top_logprobs[0] or {}).items()) if self.top_logprobs else []


class _Choice(BaseModel):
    logprobs: _Logprobs | None = None


class _Body(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Usage


def read_top(data: Any) -> Reply | Failure:
    """The most probable first tokens from a server's answer."""
    try:
        body = _Body.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        why = f"the answer is malformed ({where}: {first['msg']})"
        return Failure(why, again=where != "usage", spent=spent(data))
    logprobs = body.choices[0].logprobs
    if logprobs is None:
        return Failure(_NONE, again=False, spent=spent(data))
    used = body.usage
    return Reply((), used.prompt_tokens, used.completion_tokens, tuple(logprobs.first()))


def without_markers(text: str) -> str:
    """The text without the white space before it."""
    return text.lstrip(_MARKERS)


def choice_row(top: Top, choices: Choices) -> list[float]:
    """The log-probability of each choice: of all tokens whose text is one of its spellings.

    A token that the server did not name has at most the smallest probability that it named. It
    counts as 0, and a choice without a named token as minus infinity. If that is so for all, the
    model answers something else.
    """
    found = [
        [number for text, number in top if without_markers(text) in spellings]
        for spellings in ({without_markers(each) for each in choice} for choice in choices)
    ]
    return [log_of_sum(numbers) if numbers else -math.inf for numbers in found]
