"""A server's answers: completions, or why there are none and whether another try can help."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from srlm_kedro.display.safe_text import one_line
from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Completion, Sampling, text_before

_TRY_LATER = (408, 409, 425, 429)
"""Statuses below 500 after which the same call may succeed later."""
_OUT_OF_QUOTA = "insufficient_quota"
_LONGEST_QUOTE = 300
"""Most characters that are quoted of a server: some answer with whole pages."""


@dataclass(frozen=True)
class Reply:
    """Completions and what they cost, in tokens."""

    completions: tuple[Completion, ...]
    prompt_tokens: int
    completion_tokens: int
    top: tuple[tuple[str, float], ...] = ()
    """Instead of completions: texts of the most probable first tokens, and their logarithms."""


@dataclass(frozen=True)
class Failure:
    """A call without an answer."""

    reason: str
    again: bool
    """Whether the same call may succeed later."""
    status: int | None = None
    wait: float | None = None
    """Seconds to wait, if the server named them."""
    spent: int = 0
    """Tokens that a useless answer has cost."""


class _Part(BaseModel):
    """One part of a content in several parts; Mistral's servers send such contents."""

    type: str
    text: str = ""
    thinking: "list[_Part]" = []


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    def parts(self) -> tuple[str, str | None]:
        """The thought and the answer; servers have several names for the thought."""
        thought = self.reasoning_content or self.reasoning or ""
        if not isinstance(self.content, list):
            return thought, self.content
        thought += "".join(word.text for part in self.content for word in part.thinking)
        return thought, "".join(part.text for part in self.content)


class _Choice(BaseModel):
    finish_reason: str | None = None
    text: str | None = None
    message: _Message = _Message()

    def thought_and_answer(self) -> tuple[str, str]:
        """The thought with its marks, and the answer; it is empty if the model only thought."""
        thought, content = self.message.parts()
        texts = (self.text, content, self.message.refusal)
        found = next((text for text in texts if text is not None), None)
        if found is None and not thought and self.finish_reason != "length":
            raise ValueError("a choice without text")
        opening, close = thoughts.PAIRS[0]
        before = f"{opening}\n{thought}\n" if thought else ""
        if before and found:
            before += f"{close}\n\n"
        own, answer = thoughts.split(found or "", cut=self.cut, whole=bool(before))
        return before + own, answer

    @property
    def cut(self) -> bool:
        """Whether the limit of tokens ended it."""
        return self.finish_reason == "length"


class Usage(BaseModel):
    """What a call has cost."""

    prompt_tokens: Annotated[int, Field(ge=0, lt=2**53)]
    completion_tokens: Annotated[int, Field(ge=0, lt=2**53)]


class _Body(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: Usage


def read_reply(data: Any, asked: int, sampling: Sampling) -> Reply | Failure:
    """At most `asked` completions from a server's answer.

    A server counts tokens for all choices together. Of several choices, those that ran out of
    tokens have `max_new_tokens`, and the others share the rest by the length of their texts. A
    thought and its answer share their tokens in the same way.
    """
    try:
        body = _Body.model_validate(data)
        parts = [choice.thought_and_answer() for choice in body.choices]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        why = f"the answer is malformed ({where}: {first['msg']})"
        # A server that gives no usage will not give it next time.
        return Failure(why, again=where != "usage", spent=spent(data))
    except ValueError as error:
        return Failure(f"the answer is malformed ({error})", again=True, spent=spent(data))
    cut = [choice.cut for choice in body.choices]
    texts = ["".join(each) for each in parts]
    tokens = _token_shares(body.usage.completion_tokens, texts, cut, sampling.max_new_tokens)
    rows = zip(parts, cut, tokens, strict=True)
    completions = tuple(_completion(*row, sampling.stop) for row in rows)
    return Reply(completions[:asked], body.usage.prompt_tokens, body.usage.completion_tokens)


def spent(data: Any) -> int:
    """The tokens that an answer states as its cost, although the rest of it cannot be read."""
    try:
        usage = Usage.model_validate(data["usage"])
    except (TypeError, LookupError, ValidationError):
        return 0
    return usage.prompt_tokens + usage.completion_tokens


def failure(error: Exception, redacted: Callable[[str], str]) -> Failure:
    """What an exception of the client means; `redacted` removes what nobody may see."""
    status = getattr(error, "status_code", None)
    if status is None or status < 400:
        cause = f" ({error.__cause__})" if str(error.__cause__ or "") else ""
        reason = f"{str(error) or type(error).__name__}{cause}"
        return Failure(one_line(redacted(reason), _LONGEST_QUOTE), again=True)
    again = status >= 500 or status in _TRY_LATER
    if getattr(error, "code", None) == _OUT_OF_QUOTA:
        again = False
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", {})
    words = one_line(redacted(_server_words(error)), _LONGEST_QUOTE).rstrip(".")
    return Failure(f"status {status}, {words}", again, status, _retry_after(headers))


def _server_words(error: Exception) -> str:
    """The server's own words."""
    body = getattr(error, "body", None)
    words = body.get("message") if isinstance(body, Mapping) else None
    return str(words or error)


def _completion(parts: tuple[str, str], cut: bool, drawn: int, stop: Sequence[str]) -> Completion:
    thought, text = parts
    kept = text_before(stop, text)
    finish = "length" if cut and kept == text else "stop"
    whole = len(thought + text)
    tokens = round(drawn * len(kept) / whole) if len(kept) < whole else drawn
    return Completion(text=kept, tokens=tokens, finish=finish, thought=thought, drawn=drawn)


def _token_shares(total: int, texts: Sequence[str], cut: Sequence[bool], most: int) -> list[int]:
    if len(texts) == 1:
        return [total]
    rest = total - most * sum(cut)
    length = sum(len(text) for text, ran_out in zip(texts, cut, strict=True) if not ran_out)
    return [
        most if ran_out else min(max(round(rest * len(text) / max(length, 1)), 1), most)
        for text, ran_out in zip(texts, cut, strict=True)
    ]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The header Retry-After in seconds; it holds seconds or a date."""
    named = headers.get("retry-after", "")
    try:
        seconds = float(named)
    except ValueError:
        seconds = _until(named)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until(date: str) -> float:
    """Seconds until a date; NaN if it is no date."""
    try:
        return parsedate_to_datetime(date).timestamp() - time()
    except (ValueError, OverflowError):
        return math.nan
