"""What a server said: completions, or why there are none and whether asking again can help."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from srlm_kedro.display.safe_text import one_line
from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Completion, Sampling

_TRY_LATER = (408, 409, 425, 429)
_OUT_OF_MONEY = "insufficient_quota"
_WORDS = 300
"""Longest quotation of a server, in characters: some answer with whole pages."""


@dataclass(frozen=True)
class Reply:
    """Completions and what they cost, in tokens."""

    completions: tuple[Completion, ...]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Failure:
    """A call without an answer."""

    reason: str
    again: bool
    """Whether the same call may succeed later."""
    status: int | None = None
    wait: float | None = None
    """Seconds to wait, where the server named them."""
    spent: int = 0
    """Tokens that an answer of no use has cost."""


class _Part(BaseModel):
    """One of several parts of a content, as Mistral's servers send it."""

    type: str
    text: str = ""
    thinking: "list[_Part]" = []


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    def parts(self) -> tuple[str, str | None]:
        """The thought, which servers send under several names, and the answer."""
        thought = self.reasoning_content or self.reasoning or ""
        if not isinstance(self.content, list):
            return thought, self.content
        thought += "".join(word.text for part in self.content for word in part.thinking)
        return thought, "".join(part.text for part in self.content)


class _Choice(BaseModel):
    finish_reason: str | None = None
    text: str | None = None
    message: _Message = _Message()

    def said(self) -> tuple[str, str]:
        """The thought, in marks, and the answer; a model may have said nothing for thinking."""
        thought, content = self.message.parts()
        texts = (self.text, content, self.message.refusal)
        found = next((text for text in texts if text is not None), None)
        if found is None and not thought and self.finish_reason != "length":
            raise ValueError("a choice without text")
        opening, close = thoughts.PAIRS[0]
        before = f"{opening}\n{thought}\n" if thought else ""
        if before and found:
            before += f"{close}\n\n"
        own, answer = thoughts.split(found or "", cut=self.full, whole=bool(before))
        return before + own, answer

    @property
    def full(self) -> bool:
        """Whether the limit of tokens ended it."""
        return self.finish_reason == "length"


class _Usage(BaseModel):
    prompt_tokens: Annotated[int, Field(ge=0, lt=2**53)]
    completion_tokens: Annotated[int, Field(ge=0, lt=2**53)]


class _Body(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage


def read_reply(data: Any, asked: int, sampling: Sampling) -> Reply | Failure:
    """The completions in a server's answer, `asked` at most.

    A server counts tokens for all choices together; of several, those that ran out of tokens
    have `max_new_tokens`, and the others share the rest by the length of their texts. So do a
    thought and its answer.
    """
    try:
        body = _Body.model_validate(data)
        said = [choice.said() for choice in body.choices]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        why = f"the answer is malformed ({where}: {first['msg']})"
        # A server that names no usage will not name it next time.
        return Failure(why, again=where != "usage", spent=_spent(data))
    except ValueError as error:
        return Failure(f"the answer is malformed ({error})", again=True, spent=_spent(data))
    full = [choice.full for choice in body.choices]
    texts = ["".join(parts) for parts in said]
    tokens = _shares(body.usage.completion_tokens, texts, full, sampling.max_new_tokens)
    rows = zip(said, full, tokens, strict=True)
    drawn = tuple(_completion(*row, sampling.stop) for row in rows)
    return Reply(drawn[:asked], body.usage.prompt_tokens, body.usage.completion_tokens)


def _spent(data: Any) -> int:
    """What an answer that cannot be read says that it cost."""
    try:
        usage = _Usage.model_validate(data["usage"])
    except (TypeError, LookupError, ValidationError):
        return 0
    return usage.prompt_tokens + usage.completion_tokens


def failure(error: Exception, redacted: Callable[[str], str]) -> Failure:
    """What an exception of the client means; `redacted` takes out what nobody may see."""
    status = getattr(error, "status_code", None)
    if status is None or status < 400:
        cause = f" ({error.__cause__})" if str(error.__cause__ or "") else ""
        said = f"{str(error) or type(error).__name__}{cause}"
        return Failure(one_line(redacted(said), _WORDS), again=True)
    again = status >= 500 or status in _TRY_LATER
    if getattr(error, "code", None) == _OUT_OF_MONEY:
        again = False
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", {})
    said = one_line(redacted(_said(error)), _WORDS).rstrip(".")
    return Failure(f"status {status}, {said}", again, status, _seconds(headers))


def _said(error: Exception) -> str:
    """The server's own words."""
    body = getattr(error, "body", None)
    words = body.get("message") if isinstance(body, Mapping) else None
    return str(words or error)


def _completion(said: tuple[str, str], full: bool, drawn: int, stop: Sequence[str]) -> Completion:
    thought, text = said
    kept = re.split("|".join(map(re.escape, stop)), text, maxsplit=1)[0] if stop else text
    finish = "length" if full and kept == text else "stop"
    whole = len(thought + text)
    tokens = round(drawn * len(kept) / whole) if len(kept) < whole else drawn
    return Completion(text=kept, tokens=tokens, finish=finish, thought=thought, drawn=drawn)


def _shares(total: int, texts: Sequence[str], full: Sequence[bool], most: int) -> list[int]:
    if len(texts) == 1:
        return [total]
    rest = total - most * sum(full)
    length = sum(len(text) for text, ran_out in zip(texts, full, strict=True) if not ran_out)
    return [
        most if ran_out else min(max(round(rest * len(text) / max(length, 1)), 1), most)
        for text, ran_out in zip(texts, full, strict=True)
    ]


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After: seconds or a date."""
    named = headers.get("retry-after", "")
    try:
        seconds = float(named)
    except ValueError:
        seconds = _until(named)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until(date: str) -> float:
    """Seconds to a date; NaN where it is none."""
    try:
        return parsedate_to_datetime(date).timestamp() - time()
    except (ValueError, OverflowError):
        return math.nan
