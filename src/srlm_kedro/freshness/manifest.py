"""The manifest beside every persisted output: what it was made from, and digests of its bytes.

The manifest is written last, so an output that has one is complete. The bytes of an output are
compared with its manifest before they are used, so a half-written file or a bad disk is noticed.
"""

import hashlib
import json
from pathlib import Path, PurePath
from typing import Any

from srlm_kedro.freshness.digests import file_digest, json_digest, write_atomically

SUFFIX = ".manifest.json"
CARD = "README.md"
"""The name of a folder's card. It is written later, and is no part of what it describes."""
_THINNED = "thinned"
"""Entry of an output whose files were deleted because nothing needed them any more."""
_CHECKSUM = "checksum"
"""Entry that holds the digest of the manifest's other entries."""


def manifest_path(output: Path) -> Path:
    """The path of the manifest of an output (a file or a folder)."""
    return output.with_name(output.name + SUFFIX)


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of an output; None if there is none or if it is damaged."""
    try:
        manifest = json.loads(manifest_path(output).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or not output.exists():
        return None
    checksum = manifest.pop(_CHECKSUM, None)
    return manifest if checksum == json_digest(manifest) else None


def write_manifest(output: Path, notes: dict[str, Any]) -> None:
    """Writes `notes` and the digests of the output's bytes beside it, atomically."""
    files = file_digests(output)
    _write(output, {**notes, "files": files, "digest": _digest_of_files(files)})


def change_notes(output: Path, notes: dict[str, Any]) -> None:
    """Replaces the notes of the same names; the digests of the bytes stay."""
    manifest = read_manifest(output)
    if manifest is not None:
        _write(output, {**manifest, **notes})


def mark_thinned(output: Path) -> None:
    """Notes that an output's files are deleted on purpose: the output still counts as made."""
    change_notes(output, {_THINNED: True})


def is_thinned(output: Path) -> bool:
    """Whether an output's files were deleted on purpose."""
    return bool((read_manifest(output) or {}).get(_THINNED))


def discard_manifest(output: Path) -> None:
    """Deletes the manifest before the output is remade, so that the output counts as not whole."""
    manifest_path(output).unlink(missing_ok=True)


def output_fault(output: Path) -> str | None:
    """What is wrong with an output on disk, such as `is missing`; None if nothing is.

    It reads every byte, and reads a file again only when the file's state changes.
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
    """The sha256 of each file of a folder by name, without its card; of a file under the name ''.

    Hidden files and folders are left out: download tools keep their notes there.
    """
    if path.is_file():
        return {"": file_digest(path)}
    beside = {CARD, CARD + SUFFIX}
    found = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file() and p.name not in beside):
        name = PurePath(file.relative_to(path)).as_posix()
        if not any(part.startswith(".") for part in name.split("/")):
            found[name] = file_digest(file)
    return found


def content_digest(path: Path) -> str:
    """The sha256 of a file's bytes, or of a folder's names and bytes without its card."""
    return _digest_of_files(file_digests(path))


def current_digest(output: Path) -> str:
    """The digest of the output's files; of a thinned output, the digest of its deleted files."""
    manifest = read_manifest(output)
    thinned = manifest is not None and manifest.get(_THINNED)
    return manifest["digest"] if manifest and thinned else content_digest(output)


def _digest_of_files(digests: dict[str, str]) -> str:
    """One digest for all digests of `file_digests`."""
    if set(digests) == {""}:
        return digests[""]
    named = "".join(f"{name}\0{digest}\0" for name, digest in digests.items())
    return hashlib.sha256(named.encode()).hexdigest()


def _write(output: Path, manifest: dict[str, Any]) -> None:
    signed = {**manifest, _CHECKSUM: json_digest(manifest)}
    text = json.dumps(signed, indent=1, sort_keys=True) + "\n"
    write_atomically(manifest_path(output), text.encode())
