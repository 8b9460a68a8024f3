"""Digests of files and of values, and files that are written atomically."""

import hashlib
import json
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes; they are read again only when the file's state changes."""
    stat = path.stat()
    return _digest_of(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


def json_digest(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """The sha256 of a value as JSON, whatever the order of its keys; `default` as in `json`."""
    text = json.dumps(value, sort_keys=True, default=default)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a hidden file beside `path` and renames it.

    A kill can leave that hidden file behind; the next write replaces it.
    """
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_bytes(content)
    os.replace(scratch, path)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, *state: int) -> str:
    """The digest by path and state: weights are large, so each file is read once."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
