"""The note beside every persisted output: what it was made from, and the sums of its bytes.

It is written last, so an output that has one is whole; and as an output's bytes are held against
it before they are used, neither a torn write nor a bad disk goes unseen.
"""

import hashlib
import json
from pathlib import Path, PurePath
from typing import Any

from srlm_kedro.freshness.files import file_digest, json_digest, write_whole

SUFFIX = ".manifest.json"
CARD = "README.md"
"""What a folder's card is called: it is written later, and is no part of what it describes."""
_THINNED = "thinned"
"""Entry of an output whose files were deleted, for nothing needed them any more."""
_CHECKSUM = "checksum"
"""Of the manifest's other entries."""


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output (a file or a folder) lies."""
    return output.with_name(output.name + SUFFIX)


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of an output, or None if there is none, or one that was damaged."""
    try:
        manifest = json.loads(manifest_path(output).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or not output.exists():
        return None
    checksum = manifest.pop(_CHECKSUM, None)
    return manifest if checksum == json_digest(manifest) else None


def write_manifest(output: Path, notes: dict[str, Any]) -> None:
    """Puts `notes` and the sums of the output's bytes beside it, whole or not at all."""
    files = file_digests(output)
    _write(output, {**notes, "files": files, "digest": _digest_of_files(files)})


def change_notes(output: Path, notes: dict[str, Any]) -> None:
    """Puts other notes in place of those of the same names; the sums of the bytes stay."""
    manifest = read_manifest(output)
    if manifest is not None:
        _write(output, {**manifest, **notes})


def mark_thinned(output: Path) -> None:
    """Notes that an output's files are deleted for good reason: it counts as made all the same."""
    change_notes(output, {_THINNED: True})


def is_thinned(output: Path) -> bool:
    """Whether an output's files were deleted for good reason."""
    return bool((read_manifest(output) or {}).get(_THINNED))


def discard_manifest(output: Path) -> None:
    """Marks an output as not whole, before it is remade."""
    manifest_path(output).unlink(missing_ok=True)


def output_fault(output: Path) -> str | None:
    """What is wrong with an output on disk, as the end of a sentence about it; None if nothing.

    Every byte is read, once as long as a file's state stays.
    """
    if not output.exists():
        return "is missing"
    manifest = read_manifest(output)
    if manifest is None:
        return "has a damaged manifest" if manifest_path(output).exists() else "is not whole"
    if manifest.get(_THINNED):
        return None
    now = file_digests(output)
    for name, digest in manifest["files"].items():
        if now.get(name) != digest:
            what = "is damaged" if name in now else "is incomplete"
            return f"{what} ({name or output.name})"
    return None


def file_digests(path: Path) -> dict[str, str]:
    """The sha256 of each file of a folder by its name, its card left out; a file's own under ''."""
    if path.is_file():
        return {"": file_digest(path)}
    beside = {CARD, CARD + SUFFIX}
    found = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p.name not in beside):
        name = PurePath(file.relative_to(path)).as_posix()
        if not any(part.startswith(".") for part in name.split("/")):  # notes of download tools
            found[name] = file_digest(file)
    return found


def content_digest(path: Path) -> str:
    """The sha256 of a file's bytes, or of a folder's names and bytes, its card left out."""
    return _digest_of_files(file_digests(path))


def current_digest(output: Path) -> str:
    """The digest of what lies there now; of an output that was thinned out, of what lay there."""
    manifest = read_manifest(output)
    thinned = manifest is not None and manifest.get(_THINNED)
    return manifest["digest"] if manifest and thinned else content_digest(output)


def _digest_of_files(digests: dict[str, str]) -> str:
    """One sum for the sums of `file_digests`."""
    if set(digests) == {""}:
        return digests[""]
    named = "".join(f"{name}\0{digest}\0" for name, digest in digests.items())
    return hashlib.sha256(named.encode()).hexdigest()


def _write(output: Path, manifest: dict[str, Any]) -> None:
    signed = {**manifest, _CHECKSUM: json_digest(manifest)}
    text = json.dumps(signed, indent=1, sort_keys=True) + "\n"
    write_whole(manifest_path(output), text.encode())
