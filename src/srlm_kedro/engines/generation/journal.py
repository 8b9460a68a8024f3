"""Completions on disk as they arrive: what was paid for is not asked for a second time."""

import json
from dataclasses import replace
from pathlib import Path

from srlm_kedro.engines import thoughts
from srlm_kedro.engines.generation.base import Completion

_FILE = "completions.jsonl"


class Journal:
    """A file of completions, one a line, found again by what was asked for."""

    def __init__(self, folder: Path):
        """Reads what an earlier run has left; a line that a kill has torn is passed over."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / _FILE
        self._held: dict[str, Completion] = {}
        kept = self._path.read_bytes() if self._path.exists() else b""
        self._torn = bool(kept) and not kept.endswith(b"\n")
        for line in kept.splitlines():
            self._read(line)

    def find(self, key: str) -> Completion | None:
        """The completion of this key, if it has arrived before."""
        return self._held.get(key)

    def add(self, key: str, completion: Completion) -> None:
        """Writes a completion down at once."""
        line = json.dumps({"key": key, **vars(completion)}).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(b"\n" + line if self._torn else line)
        self._torn = False
        self._held[key] = completion

    def _read(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            key = row.pop("key")
            self._held[key] = _answered(Completion(**row))
        except (ValueError, KeyError, TypeError, AttributeError):
            return  # Torn: asked for again.


def _answered(kept: Completion) -> Completion:
    """A text that was kept with its thought, by an earlier version, without it."""
    thought, answer = thoughts.split(kept.text, cut=kept.finish == "length")
    if kept.thought or not thought:
        return kept
    tokens = round(kept.tokens * len(answer) / len(kept.text))
    return replace(kept, text=answer, tokens=tokens, thought=thought)


def weights_mark(folder: Path) -> list[tuple[str, int, int]]:
    """Changes when a file of a model's folder is replaced, cards aside; empty without a folder.

    A server's model is known by its name alone; where the folder that it serves is at hand, a
    model that was trained anew under the same name is told from the old one.
    """
    files = [f for f in sorted(folder.glob("*")) if f.is_file() and not f.name.startswith("README")]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
