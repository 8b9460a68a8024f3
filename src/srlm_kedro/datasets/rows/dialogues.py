"""Conversations as datasets write them: chat messages, or text with `Human:` and `Assistant:`.

A prompt of this project is one turn of a user, so a conversation is of use only if it is a single
exchange: that turn and its response.

Paper: section 3.1, only first turns.
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


class UnusableRowError(ValueError):
    """A row is sound, but of no use here."""

    def __init__(self, reason: str) -> None:
        """`reason` is what a catalog entry names under `drop`: a key of `preferences.REASONS`."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: Role
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """The role and the text, with single spaces between words."""
        return self.role, " ".join(self.text.split())


@dataclass(frozen=True)
class Exchange:
    """A user's turn and its response."""

    prompt: str
    response: str


def turns(value: Any, speaker: Role, name: str) -> list[Turn]:
    """The turns of a text, of a message or of a list of messages, without empty system turns.

    Args:
        value: `[{role, content}, ...]`, `[{from, value}, ...]`, one such message, a text with
            alternating `Human:` and `Assistant:`, or the bare text of one turn.
        speaker: The role of a bare text.
        name: What the value is called in an error.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str):
        found = _marked_turns(value) or [Turn(speaker, value)]
    else:
        messages = [value] if isinstance(value, Mapping) else value
        if not isinstance(messages, Sequence) or not messages:
            raise ValueError(f"{name}: neither a text nor a list of messages {{role, content}}")
        found = [_turn(message, f"{name}.{n}") for n, message in enumerate(messages)]
    return [turn for turn in found if turn.role != "system" or turn.text.strip()]


def conversation(prompt: Any, value: Any, name: str) -> list[Turn]:
    """All turns of a dialogue, whose beginning may be in a column of its own.

    Args:
        prompt: The column `prompt`: None, the user's text, or the turns before the response.
        value: The rest of the dialogue, or the whole dialogue.
        name: What the value is called in an error.

    Raises:
        ValueError: There is no prompt, or it is not what the dialogue begins with.
    """
    before = [] if prompt is None else _without_open_turn(turns(prompt, "user", "prompt"))
    rest = turns(value, "assistant", name)
    if not any(turn.role == "user" for turn in rest):
        if not before:
            raise ValueError(f"no prompt: no column `prompt`, and no user speaks in `{name}`")
        if isinstance(prompt, str) and _marked_turns(prompt):  # this form has spaces around turns
            rest = [Turn(turn.role, turn.text.strip()) for turn in rest]
        return before + rest
    if before and _keys(before) != _keys(_comparable(rest, before))[: len(before)]:
        raise ValueError(f"`prompt` is not what `{name}` begins with")
    return rest


def exchange(dialogue: Sequence[Turn]) -> Exchange:
    """The single exchange of a conversation.

    Raises:
        UnusableRowError: It has more turns, a system message, or a blank response or none.
    """
    if dialogue and dialogue[0].role == "system":
        raise UnusableRowError(SYSTEM)
    if not dialogue or dialogue[-1].role != "assistant":
        raise UnusableRowError(SEVERAL_TURNS if len(dialogue) > 2 else NO_RESPONSE)
    if [turn.role for turn in dialogue] != ["user", "assistant"]:
        raise UnusableRowError(SEVERAL_TURNS)
    if is_blank(dialogue[1].text):
        raise UnusableRowError(BLANK)
    return Exchange(dialogue[0].text, dialogue[1].text)


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: it has only spaces, line ends and characters without width."""
    return all(
        character.isspace() or unicodedata.category(character) in _SHAPELESS for character in text
    )


def is_dialogue(value: Any) -> bool:
    """Whether a value is a chat message or a list of them, and no text."""
    messages = [value] if isinstance(value, dict) else value
    return isinstance(messages, list) and all(
        isinstance(message, dict) and any(key in message for key in _ROLE_KEYS)
        for message in messages
    )


def _marked_turns(text: str) -> list[Turn]:
    """The turns of a text that begins with `Human:` and has `Assistant:` later; else none."""
    pieces = _SPEAKER.split(text)
    speakers, texts = pieces[1::2], pieces[2::2]
    if pieces[0].strip() or speakers[:1] != ["Human"] or "Assistant" not in speakers:
        return []
    return [
        Turn("user" if speaker == "Human" else "assistant", text.strip())
        for speaker, text in zip(speakers, texts, strict=True)
    ]


def _turn(message: Any, name: str) -> Turn:
    if not isinstance(message, Mapping):
        raise ValueError(f"{name}: no message {{role, content}}")
    given = next((message[key] for key in _ROLE_KEYS if message.get(key) is not None), None)
    role = _ROLES.get(given.lower()) if isinstance(given, str) else None
    if role is None:
        raise ValueError(f"{name}: role {given!r} is none of user, assistant, system")
    content = next((message[key] for key in _TEXT_KEYS if message.get(key) is not None), "")
    return Turn(role, _content_text(content, name))


def _content_text(content: Any, name: str) -> str:
    """The text of a message, which may have parts `{type: text, text}`."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name}: its content is no text")
    return "\n\n".join(texts)


def _without_open_turn(before: list[Turn]) -> list[Turn]:
    """The turns without the empty turn of the assistant with which some prompts end."""
    ends_open = before and before[-1].role == "assistant" and is_blank(before[-1].text)
    return before[:-1] if ends_open else before


def _comparable(dialogue: list[Turn], before: list[Turn]) -> list[Turn]:
    """The turns of a dialogue, without system turns if `before` has none."""
    if any(turn.role == "system" for turn in before):
        return dialogue
    return [turn for turn in dialogue if turn.role != "system"]


def _keys(dialogue: Sequence[Turn]) -> list[tuple[str, str]]:
    return [turn.key for turn in dialogue]
