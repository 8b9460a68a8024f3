"""Sums of files and of values; files that are written whole or not at all."""

import hashlib
import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, read once as long as the file's state stays."""
    stat = path.stat()
    return _digest_of(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def json_digest(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """The sha256 of a value as JSON, whatever the order of its keys; `default` as in `json`."""
    text = json.dumps(value, sort_keys=True, default=default)
    return hashlib.sha256(text.encode()).hexdigest()


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside and renames; what a kill has left beside is written over the next time."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_bytes(content)
    os.replace(scratch, path)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, *state: int) -> str:
    """By a file's state: weights are large."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
