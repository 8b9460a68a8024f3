"""The narrow protocol behind which every sampler stands. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from pydantic import Field, model_validator

from srlm_kedro.display.safe_text import sound
from srlm_kedro.params import MANY, TOKENS, Params
from srlm_kedro.records import Checkpoint


class Sampling(Params):
    """How completions are drawn. Paper: section 3.1, temperature 0.7 and top-p 0.9."""

    n: int = Field(1, ge=1, le=MANY)
    """Completions a request."""
    temperature: float = Field(0.7, ge=0, le=10)
    """0 is greedy."""
    top_p: float = Field(0.9, gt=0, le=1)
    max_new_tokens: int = Field(512, ge=1, le=TOKENS)
    """Longest completion, in tokens, thoughts included. The paper does not state one."""
    min_new_tokens: int = Field(0, ge=0, le=TOKENS)
    """The end token is not drawn before this many tokens."""
    stop: tuple[str, ...] = ()
    """An answer ends before the first of these strings; it is not part of the text."""


class StageSampling(Sampling):
    """Sampling as the knobs of a stage have it: several draws are asked for because they differ."""

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


@dataclass(frozen=True)
class Request:
    """A text to complete. Its samples depend on its id, its text and the seed alone."""

    id: str
    prompt: str
    chat: bool = True
    """True: a user's turn, put into the model's chat template. False: raw text to continue."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier turns of a chat: what the user said, and what was answered."""
    optional: bool = False
    """What follows when the prompt leaves the model no room for the longest completion. False: all
    is refused. True: nothing is drawn for it, and its completions are `NO_ROOM`. For texts that a
    model wrote: one that is too long must not end hours of work."""

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
    """What was drawn: the answer, and apart from it the thought before it."""

    text: str
    """The answer as it is, special tokens and stop strings taken off; empty where a thought never
    came to its end."""
    tokens: int
    """Of the answer, the end token included."""
    finish: Literal["stop", "length", "no_room"]
    """`no_room`: nothing was drawn, see `Request.optional`."""
    thought: str = ""
    """What stands before the answer, with its marks (`engines/thoughts.py`). What was taken off
    behind the answer (a stop string, the end of a wrapping or a message) is not kept."""
    drawn: int | None = None
    """Tokens of the thought too: what the completion cost. None: there is no thought."""

    def __post_init__(self) -> None:
        """Servers can send half a surrogate pair, which no file, hash or tokenizer takes."""
        object.__setattr__(self, "text", sound(self.text))
        object.__setattr__(self, "thought", sound(self.thought))
        if self.drawn is None:
            object.__setattr__(self, "drawn", self.tokens)


NO_ROOM = Completion("", 0, "no_room")
"""In place of a completion that was not drawn."""


class GenerationEngine(Protocol):
    """Draws `sampling.n` completions for each request, in the order of the requests."""

    def release(self) -> None:
        """Gives back what is held between calls: a model's memory, a process."""
        ...

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row a request."""
        ...

    def misfits(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """Why each request leaves `model` no room, in tokens; empty where it fits.

        Weights are not loaded. An engine that does not know its model's limit finds that all fit.
        """
        ...
