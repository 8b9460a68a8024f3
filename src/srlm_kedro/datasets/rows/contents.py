"""Reads the bytes of a file that people bring, and refuses a file that is no table by its bytes."""

import codecs
import gzip
import json
import re
import zlib
from pathlib import Path

from srlm_kedro.errors import InputError

PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_HEAD = 1024
"""Bytes that tell what a file is."""
_FIRST = 8
"""Bytes at the start of a text, none of which is zero."""
_UNPACK = "Unpack it, or compress it with gzip"
_KINDS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the data. Fetch it: git lfs pull",
    b"<!doctype html": "is a web page, not the data. Download the file itself",
    b"<html": "is a web page, not the data. Download the file itself",
    b"<?xml": "is XML. Save it as JSON lines, CSV or Parquet",
    b"pk\x03\x04": (
        "is a ZIP archive (or a workbook). Unpack it, and name the file within (or save the sheet "
        "as CSV)"
    ),
    b"\xd0\xcf\x11\xe0": "is an Excel workbook. Save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": f"is compressed with zstd. {_UNPACK}",
    b"\xfd7zxz\x00": f"is compressed with xz. {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"is compressed with 7-Zip. {_UNPACK}",
    b"\x04\x22m\x18": f"is compressed with lz4. {_UNPACK}",
    _GZIP: "is compressed with gzip more than once. Unpack it once",
    b"arrow1": "is an Arrow file. Save it as Parquet",
    b"\xff\xff\xff\xff": "is an Arrow stream. Read its folder by HubSeedDataset, or save Parquet",
    b"sqlite format 3\x00": "is an SQLite database. Save the table as CSV",
    b"obj\x01": "is Avro. Save it as Parquet",
    b"\x80\x04\x95": "is a Python pickle, which is never opened. Save it as Parquet",
    b"sep=": "begins with a line for Excel (sep=). Remove that line",
    b"%pdf-": "is a PDF, not the data. Save the rows as JSON lines or CSV",
}
"""The start of a file in lower case, and what a message says of such a file."""
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_TAR = slice(257, 262)


def read_content(path: Path) -> bytes:
    """The bytes of a file, without gzip compression and without the byte order mark of UTF-8.

    Raises:
        InputError: The file cannot be read, is broken, is empty, or is known to be no table.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no file that can be read. Name the data itself.")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    content = _unpacked(path, content)
    bare = content.removeprefix(codecs.BOM_UTF8)
    if reason := _refusal(bare):
        raise InputError(f"{path}: {reason}.")
    if not bare.strip():
        what = "holds only a byte order mark" if bare != content else "is empty"
        raise InputError(f"{path}: {what}. Put the data there, or fetch the file again.")
    return bare


def _unpacked(path: Path, content: bytes) -> bytes:
    if not content.startswith(_GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: broken gzip ({error}). Fetch the file again.") from error


def _refusal(content: bytes) -> str | None:
    """What the content is, and what to do, if it is known to be no table."""
    if content.startswith(PARQUET):
        return None
    start = content.lstrip()[:_HEAD]
    if _BZIP2.match(start):
        return f"is compressed with bzip2. {_UNPACK}"
    if content[_TAR] == b"ustar":
        return "is a tar archive. Unpack it, and name the file within"
    if encoding := _wide_encoding(content[:_HEAD]):
        return f"is {encoding[:6]}. Save it as UTF-8: iconv -f {encoding} -t UTF-8"
    lowered = start.lower()
    known = (reason for magic, reason in _KINDS.items() if lowered.startswith(magic))
    binary = "is binary, in no format that is known here. Save the rows as Parquet or JSON lines"
    return next(known, binary if b"\0" in content[:_FIRST] else None)


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32 as iconv calls it, if the first characters are text; None for others."""
    encoding = json.detect_encoding(head)
    if encoding.startswith("utf-8"):
        return None
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head[:_FIRST])
    except UnicodeDecodeError:
        return None
    is_text = all(
        character.isprintable() or character.isspace() for character in text.strip("\ufeff")
    )
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    return name if is_text else None
