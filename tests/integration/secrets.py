"""Looks for a secret in all that runs leave: every file below a folder, and what was said."""

import base64
import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pandas as pd


def traces(secret: str) -> set[bytes]:
    """What betrays it: either half (a message may have cut it), in any of the usual spellings."""
    half = len(secret) // 2
    return {form for part in (secret[:half], secret[half:]) for form in _spellings(part)}


def shown_in(content: bytes, secret: str) -> bool:
    """Whether the bytes betray the secret."""
    return any(trace in content for trace in traces(secret))


def files_with(folder: Path, secret: str) -> set[str]:
    """The files below the folder that betray the secret, packed, in a table or in a database."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder))
        for path in files
        if any(shown_in(content, secret) for content in _contents(path))
    }


def _spellings(part: str) -> Iterator[bytes]:
    written = {part, json.dumps(part)[1:-1], repr(part)[1:-1], quote(part), quote(part, safe="")}
    for text in written:
        yield text.encode()
        yield from _packed(text.encode())


def _packed(plain: bytes) -> Iterator[bytes]:
    """What of its Base64 does not depend on what stands around it, for each place it can have."""
    for before in range(3):
        whole = (before + len(plain)) // 3 * 3
        shifted = (b" " * before + plain)[:whole]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(shifted)[(before * 4 + 2) // 3 :]


def _contents(path: Path) -> Iterator[bytes]:
    raw = path.read_bytes()
    yield raw
    yield str(path).encode()
    if raw.startswith(b"PAR1"):
        yield from _table(path)
    if raw.startswith(b"SQLite format 3\0"):
        with closing(sqlite3.connect(path)) as database:  # its -wal included
            yield "\n".join(database.iterdump()).encode()
    if raw.startswith(b"\x1f\x8b"):
        yield gzip.decompress(raw)
    if raw.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield from map(archive.read, archive.namelist())


def _table(path: Path) -> Iterator[bytes]:
    table = pd.read_parquet(path)
    for name in table.columns:
        yield "\n".join([str(name), *map(str, table[name])]).encode()
