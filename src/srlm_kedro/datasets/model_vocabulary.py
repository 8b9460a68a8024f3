"""Which token ids can reach a model, read from its tokenizer's files alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")
"""Special tokens that are written before, behind or beside texts, or stand for what is unknown."""


@dataclass(frozen=True)
class _Vocabulary:
    """A tokenizer.json."""

    highest: int
    """The largest id of a piece that ordinary text can hold; -1 for none."""
    special: dict[str, int]
    """Ids of the special tokens: a user's or a model's text never becomes one."""
    framing: str
    """What is put around every text."""


def vocabulary_faults(folder: Path, size: int) -> list[str]:
    """Why a tokenizer does not fit a model of so many embeddings: the first reason, or none.

    A special token without an embedding does no harm as long as nothing writes it, as Gemma 3's
    placeholder for images in its models of text.
    """
    file = folder / "tokenizer.json"
    stat = file.stat()
    vocabulary = _read(file, stat.st_mtime_ns, stat.st_size)
    if vocabulary is None:
        return ["its tokenizer.json is no JSON, or a Git LFS pointer (run git lfs pull)"]
    if vocabulary.highest >= size:
        return [_fault(f"has ids up to {vocabulary.highest}", size)]
    beyond = [one for one, number in vocabulary.special.items() if number >= size]
    if not beyond:
        return []
    written = [vocabulary.framing, *_written(folder)]
    for one in beyond:
        if any(one in text for text in written):
            return [_fault(f"writes the special token {one}, id {vocabulary.special[one]}", size)]
    return []


def _fault(what: str, size: int) -> str:
    return (
        f"its tokenizer {what}, but the model's vocab_size is {size} (they belong to different "
        "models)"
    )


def _written(folder: Path) -> Iterator[str]:
    """Texts in which the tokens stand that a template or a setting writes."""
    settings = _json(folder / "tokenizer_config.json")
    for name in _NAMED:
        token = settings.get(name)
        yield str(token.get("content") if isinstance(token, dict) else token)
    yield str(settings.get("chat_template"))
    for name in _TEMPLATES:
        if (folder / name).is_file():
            yield (folder / name).read_text("utf-8", errors="replace")


@lru_cache(maxsize=64)
def _read(file: Path, _mtime: int, _size: int) -> _Vocabulary | None:
    """None if the file is no JSON."""
    content = _json(file)
    if not content:
        return None
    added = content.get("added_tokens") or []
    special = {str(one["content"]): one["id"] for one in added if _is_special(one)}
    model = content.get("model") or {}
    pieces = model.get("vocab") or {}
    # Unigram models list their pieces, the others map them to ids. Of a BPE's pieces, a text
    # holds those that merge; the special ones stand in the table alone.
    if not isinstance(pieces, dict):
        numbers: list[int] = list(range(len(pieces)))
    elif model.get("type") == "BPE":
        numbers = [number for piece, number in pieces.items() if piece not in special]
    else:
        numbers = list(pieces.values())
    numbers += [one.get("id", -1) for one in added if not _is_special(one)]
    framing = json.dumps(content.get("post_processor"), ensure_ascii=False)
    return _Vocabulary(max(numbers, default=-1), special, framing)


def _is_special(token: dict[str, Any]) -> bool:
    return bool(token.get("special")) and "content" in token and "id" in token


def _json(file: Path) -> dict[str, Any]:
    """Empty where there is no such file, or it is no JSON object."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
