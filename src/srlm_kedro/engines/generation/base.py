"""The protocol of all generation engines, and the records it uses. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import Field, model_validator

from srlm_kedro.display.safe_text import encodable
from srlm_kedro.params import MAX_COUNT, MAX_TOKENS, Params
from srlm_kedro.records import Checkpoint


class Sampling(Params):
    """How completions are sampled.

    Paper: section 3.1 samples with temperature 0.7 and top-p 0.9.
    """

    n: int = Field(1, ge=1, le=MAX_COUNT)
    """Completions per request."""
    temperature: float = Field(0.7, ge=0, le=10)
    """0 is greedy: the most probable token is taken."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Only the most probable tokens are drawn: the smallest set whose probabilities add up to at
    least this; a token as probable as the last one of the set is drawn too."""
    max_new_tokens: int = Field(512, ge=1, le=MAX_TOKENS)
    """Longest completion in tokens, thoughts included (paper: not stated)."""
    min_new_tokens: int = Field(0, ge=0, le=MAX_TOKENS)
    """The end token is not sampled before this many tokens."""
    stop: tuple[str, ...] = ()
    """An answer ends before the first of these strings; it is not part of the text."""


class StageSampling(Sampling):
    """Sampling as a stage's parameter: several completions are useful only if they can differ."""

    @model_validator(mode="after")
    def _without_contradictions(self) -> Self:
        faults = []
        if self.n > 1 and self.temperature == 0:
            faults.append(
                f"temperature = 0 draws one and the same completion n = {self.n} times; raise "
                "temperature, or draw n = 1 where that is allowed"
            )
        if self.min_new_tokens > self.max_new_tokens:
            faults.append(
                f"min_new_tokens = {self.min_new_tokens} is above max_new_tokens = "
                f"{self.max_new_tokens}"
            )
        if faults:
            raise ValueError("; ".join(faults))
        return self


def text_before(stop: Sequence[str], text: str) -> str:
    """`text` up to the first of the stop strings; the whole text if none occurs."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else text


@dataclass(frozen=True)
class Request:
    """A text to complete. Its samples depend only on its id, its text and the seed."""

    id: str
    prompt: str
    chat: bool = True
    """True: a user's turn, put into the model's chat template. False: raw text to continue."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier turns of a chat: what the user said, and what was answered."""
    optional: bool = False
    """Whether the request may be skipped if its prompt leaves the model no room for the longest
    completion. False: the whole call is refused. True: nothing is sampled for the request, and its
    completions are `NO_ROOM`. True is for prompts that a model wrote: one that is too long must not
    end hours of work."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat up to this turn, as roles and contents."""
        earlier = [
            {"role": role, "content": text}
            for turn in self.history
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        return [*earlier, {"role": "user", "content": self.prompt}]


@dataclass(frozen=True)
class Completion:
    """What was sampled: the answer, and separately the thought before it."""

    text: str
    """The answer without special tokens and stop strings; empty if a thought never ended."""
    tokens: int
    """Tokens of the answer, the end token included."""
    finish: Literal["stop", "length", "no_room"]
    """`no_room`: nothing was sampled, see `Request.optional`."""
    thought: str = ""
    """The text before the answer, with its marks (`engines/thoughts.py`). Text after the answer
    (a stop string, the closing tag of a wrapping, the end of a message) is not kept."""
    drawn: int | None = None
    """Tokens of the thought and the answer: what the completion cost. None: as many as `tokens`."""

    def __post_init__(self) -> None:
        """Repairs texts: servers can send half a surrogate pair, which no file or hash accepts."""
        object.__setattr__(self, "text", encodable(self.text))
        object.__setattr__(self, "thought", encodable(self.thought))
        if self.drawn is None:
            object.__setattr__(self, "drawn", self.tokens)


NO_ROOM = Completion("", 0, "no_room")
"""The completion of a request for which nothing was sampled."""

Choices = Sequence[Sequence[str]]
"""Named answers, such as `(("Yes", "yes"), ("No", "no"))`: each choice is a group of spellings."""
UNREAD = float("nan")
"""The log-probability of a choice that was not read: see `Request.optional`."""


class GenerationEngine(Protocol):
    """Samples completions of requests, or reads how probable named answers are.

    An engine may also have `refuse_unready()` and `refuse_unfit(model)`, which raise `InputError`
    before a run begins, and `forget()`, which deletes what it keeps of unfinished work.
    """

    def release(self) -> None:
        """Frees what is held between calls: a model's memory, a process."""
        ...

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request."""
        ...

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """How probable each choice is as the answer: one row per request, one column per choice.

        A value is the natural logarithm of the probability, at temperature 1 and without top-p,
        that the answer begins with the first token of one of the choice's spellings. The answer
        begins where it begins in training: after the chat prompt, and after an empty thought if
        the template writes one before an answer. Nothing is sampled, so there is no seed.

        A request needs room for one token. A row of an optional request that has no room is
        `UNREAD` in each column. Requests whose prompts begin alike cost least in one call.

        Raises:
            InputError: Requests do not fit, or two choices begin with the same token.
        """
        ...

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request is too long for `model`, in tokens; an empty text for one that fits.

        Weights are not loaded. An engine that does not know its model's limit returns empty texts.
        """
        ...


def folder_state(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of each file in a model's folder; empty if there is no folder.

    The state shows whether a model was replaced by another one of the same name. Model cards do not
    count: they are written later.
    """
    files = [f for f in sorted(folder.glob("*")) if f.is_file() and not f.name.startswith("README")]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
