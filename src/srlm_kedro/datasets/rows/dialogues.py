"""Conversations as data sets write them: chat messages, or text with `Human:` and `Assistant:`.

A prompt of this project is one turn of a user, so what is wanted of a conversation is an exchange:
that turn and its response. Paper: section 3.1, first turns alone.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]

SEVERAL_TURNS = "several turns"
SYSTEM = "system message"
NO_RESPONSE = "no response"
BLANK = "blank response"

_ROLES: dict[str, Role] = {
    "system": "system",
    **dict.fromkeys(["user", "human", "prompter"], "user"),
    **dict.fromkeys(["assistant", "gpt", "model", "bot", "chatbot"], "assistant"),
}
_ROLE_KEYS, _TEXT_KEYS = ("role", "from"), ("content", "value")
_SHAPELESS = {"Cc", "Cf", "Zs", "Zl", "Zp"}
"""Unicode's control and format characters, and its spaces."""
_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


class UnfitError(ValueError):
    """A row that is sound, but of no use here; `reason` is one of a few words."""

    def __init__(self, reason: str) -> None:
        """What a catalog entry names to drop such rows."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Turn:
    """What one side said at once."""

    role: Role
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """The turn without its spacing."""
        return self.role, " ".join(self.text.split())


@dataclass(frozen=True)
class Exchange:
    """A user's turn and its response."""

    prompt: str
    response: str


def turns(value: Any, speaker: Role, name: str) -> list[Turn]:
    """The turns of a text, of a message or of a list of messages; empty system turns are none.

    Args:
        value: `[{role, content}, ...]`, `[{from, value}, ...]`, one such message, a text with
            `Human:` and `Assistant:` in turn, or the bare words of one turn.
        speaker: Who says bare words.
        name: What the value is called in a message.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str):
        found = _spoken(value) or [Turn(speaker, value)]
    else:
        messages = [value] if isinstance(value, Mapping) else value
        if not isinstance(messages, Sequence) or not messages:
            raise ValueError(f"{name}: neither a text nor a list of messages {{role, content}}")
        found = [_turn(message, f"{name}.{n}") for n, message in enumerate(messages)]
    return [turn for turn in found if turn.role != "system" or turn.text.strip()]


def conversation(prompt: Any, value: Any, name: str) -> list[Turn]:
    """All turns of a dialogue, whose beginning may stand in a column of its own.

    Args:
        prompt: The column `prompt`: None, the user's words, or the turns before the response.
        value: The rest, or all of it again.
        name: What the value is called in a message.

    Raises:
        ValueError: There is no prompt, or it is not what the dialogue begins with.
    """
    before = [] if prompt is None else _opened(turns(prompt, "user", "prompt"))
    said = turns(value, "assistant", name)
    if not any(turn.role == "user" for turn in said):
        if not before:
            raise ValueError(f"no prompt: no column `prompt`, and no user speaks in `{name}`")
        if isinstance(prompt, str) and _spoken(prompt):  # whose form spaces its turns
            said = [Turn(turn.role, turn.text.strip()) for turn in said]
        return before + said
    if before and _keys(before) != _keys(_like(said, before))[: len(before)]:
        raise ValueError(f"`prompt` is not what `{name}` begins with")
    return said


def exchange(told: Sequence[Turn]) -> Exchange:
    """The one exchange that a conversation consists of.

    Raises:
        UnfitError: It has more turns, a system message, or no response with words.
    """
    if told and told[0].role == "system":
        raise UnfitError(SYSTEM)
    if not told or told[-1].role != "assistant":
        raise UnfitError(SEVERAL_TURNS if len(told) > 2 else NO_RESPONSE)
    if [turn.role for turn in told] != ["user", "assistant"]:
        raise UnfitError(SEVERAL_TURNS)
    if is_blank(told[1].text):
        raise UnfitError(BLANK)
    return Exchange(told[0].text, told[1].text)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: spaces, ends of lines, marks without width."""
    return all(
        character.isspace() or unicodedata.category(character) in _SHAPELESS for character in text
    )


def is_dialogue(value: Any) -> bool:
    """Whether a value is a message or a list of messages, and no text."""
    messages = [value] if isinstance(value, dict) else value
    return isinstance(messages, list) and all(
        isinstance(message, dict) and any(key in message for key in _ROLE_KEYS)
        for message in messages
    )


def _spoken(text: str) -> list[Turn]:
    """The turns of a text that begins with `Human:` and goes on with `Assistant:`; else none."""
    pieces = _SPEAKER.split(text)
    speakers, words = pieces[1::2], pieces[2::2]
    if pieces[0].strip() or speakers[:1] != ["Human"] or "Assistant" not in speakers:
        return []
    return [
        Turn("user" if speaker == "Human" else "assistant", said.strip())
        for speaker, said in zip(speakers, words, strict=True)
    ]


def _turn(message: Any, name: str) -> Turn:
    if not isinstance(message, Mapping):
        raise ValueError(f"{name}: no message {{role, content}}")
    said = next((message[key] for key in _ROLE_KEYS if message.get(key) is not None), None)
    role = _ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise ValueError(f"{name}: role {said!r} is none of user, assistant, system")
    content = next((message[key] for key in _TEXT_KEYS if message.get(key) is not None), "")
    return Turn(role, _words(content, name))


def _words(content: Any, name: str) -> str:
    """The text of a message, which may come in parts `{type: text, text}`."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name}: its content is no text")
    return "\n\n".join(texts)


def _opened(before: list[Turn]) -> list[Turn]:
    """Without the empty turn of the assistant with which some prompts end."""
    ends_open = before and before[-1].role == "assistant" and is_blank(before[-1].text)
    return before[:-1] if ends_open else before


def _like(said: list[Turn], before: list[Turn]) -> list[Turn]:
    """Without system turns, where `before` has none."""
    if any(turn.role == "system" for turn in before):
        return said
    return [turn for turn in said if turn.role != "system"]


def _keys(told: Sequence[Turn]) -> list[tuple[str, str]]:
    return [turn.key for turn in told]
