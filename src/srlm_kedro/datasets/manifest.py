"""The note beside every persisted output: what it was made from. Written last, so that its
existence means that the output is whole.
"""

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

SUFFIX = ".manifest.json"
CARD = "README.md"
"""What a folder's card is called: it is written later, and is no part of what it describes."""


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output (a file or a folder) lies."""
    return output.with_name(output.name + SUFFIX)


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of an output, or None if there is none that can be read."""
    try:
        manifest = json.loads(manifest_path(output).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and output.exists() else None


def write_manifest(output: Path, manifest: dict[str, Any]) -> None:
    """Puts the manifest beside the output, whole or not at all."""
    path = manifest_path(output)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", "utf-8")
    os.replace(scratch, path)


def discard_manifest(output: Path) -> None:
    """Marks an output as not whole, before it is remade."""
    manifest_path(output).unlink(missing_ok=True)


def content_digest(path: Path) -> str:
    """The sha256 of a file's bytes, or of a folder's names and bytes, its card left out."""
    if path.is_file():
        return _file_digest(path)
    digest = hashlib.sha256()
    beside = {CARD, CARD + SUFFIX}
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p.name not in beside):
        if any(part.startswith(".") for part in file.relative_to(path).parts):
            continue  # notes of download tools and the like
        name = PurePath(file.relative_to(path)).as_posix()
        digest.update(f"{name}\0{_file_digest(file)}\0".encode())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, *state: int) -> str:
    """Read once as long as the file's state stays: weights are large."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
