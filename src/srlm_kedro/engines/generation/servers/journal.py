"""Completions on disk as they arrive, so that none is asked of a server and paid for twice."""

import json
from dataclasses import replace
from pathlib import Path

from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Completion

_FILE = "completions.jsonl"


class Journal:
    """A file with one completion per line; each is found again by a key of what was asked."""

    def __init__(self, folder: Path):
        """Reads what an earlier run has left, except lines that a kill cut off."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / _FILE
        self._completions: dict[str, Completion] = {}
        content = self._path.read_bytes() if self._path.exists() else b""
        self._ends_within_line = bool(content) and not content.endswith(b"\n")
        for line in content.splitlines():
            self._read(line)

    def find(self, key: str) -> Completion | None:
        """The completion of this key, if it has arrived before."""
        return self._completions.get(key)

    def add(self, key: str, completion: Completion) -> None:
        """Writes a completion to the file at once."""
        line = json.dumps({"key": key, **vars(completion)}).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(b"\n" + line if self._ends_within_line else line)
        self._ends_within_line = False
        self._completions[key] = completion

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            key = row.pop("key")
            self._completions[key] = _without_thought(Completion(**row))
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # The line was cut off: its completion is asked for again.


def _without_thought(kept: Completion) -> Completion:
    """The completion; an earlier version kept thought and answer as one text, which is split."""
    thought, answer = thoughts.split(kept.text, cut=kept.finish == "length")
    if kept.thought or not thought:
        return kept
    tokens = round(kept.tokens * len(answer) / len(kept.text))
    return replace(kept, text=answer, tokens=tokens, thought=thought)
