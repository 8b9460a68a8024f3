"""Answers on disk as they arrive, so that none is asked of a server and paid for twice."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Completion
from srlm_kedro.engines.generation.servers.top_tokens import Top

_Kept = TypeVar("_Kept")


@dataclass(frozen=True)
class Form(Generic[_Kept]):
    """What a journal's lines hold beside their key."""

    file: str
    write: Callable[[_Kept], dict[str, Any]]
    read: Callable[[dict[str, Any]], _Kept]


def _without_thought(kept: Completion) -> Completion:
    """The completion; an earlier version kept thought and answer as one text, which is split."""
    thought, answer = thoughts.split(kept.text, cut=kept.finish == "length")
    if kept.thought or not thought:
        return kept
    tokens = round(kept.tokens * len(answer) / len(kept.text))
    return replace(kept, text=answer, tokens=tokens, thought=thought)


COMPLETIONS = Form[Completion](
    "completions.jsonl", vars, lambda row: _without_thought(Completion(**row))
)
TOP_TOKENS = Form[Top](
    "top_tokens.jsonl",
    lambda top: {"top": [list(pair) for pair in top]},
    lambda row: [(str(text), float(number)) for text, number in row["top"]],
)
"""Not the probabilities of the choices, so that other spellings can be read from them."""


class Journal(Generic[_Kept]):
    """A file with one answer per line; each is found again by a key of what was asked."""

    def __init__(self, folder: Path, form: Form[_Kept] = COMPLETIONS):  # type: ignore[assignment]
        """Reads what an earlier run has left, except lines that a kill cut off."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._form = folder / form.file, form
        self._held: dict[str, _Kept] = {}
        content = self._path.read_bytes() if self._path.exists() else b""
        self._ends_within_line = bool(content) and not content.endswith(b"\n")
        for line in content.splitlines():
            self._read(line)

    def find(self, key: str) -> _Kept | None:
        """The answer of this key, if it has arrived before."""
        return self._held.get(key)

    def add(self, key: str, answer: _Kept) -> None:
        """Writes an answer to the file at once."""
        line = json.dumps({"key": key, **self._form.write(answer)}).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(b"\n" + line if self._ends_within_line else line)
        self._ends_within_line = False
        self._held[key] = answer

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            key = row.pop("key")
            self._held[key] = self._form.read(row)
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # The line was cut off: its answer is asked for again.
