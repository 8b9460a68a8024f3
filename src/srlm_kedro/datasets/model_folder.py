"""What a model's folder must hold, checked by reading its files without any model library."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from srlm_kedro.errors import InputError

_SCRIPTED = "model.json"
"""The file of a scripted model, which has no weights."""
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LFS = b"version https://git-lfs"
_LONGEST_HEADER = 100_000_000
"""Bytes of a safetensors header."""
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
"""Special tokens that are written before, after or beside texts, or replace unknown pieces."""


def checkpoint_faults(path: Path) -> list[str]:
    """Every reason why a folder is no checkpoint; empty if it is one."""
    if not path.is_dir():
        return ["there is no such folder"]
    if is_scripted(path):
        return []
    adapter = (path / _ADAPTER[0]).exists()
    model = _adapter_faults(path) if adapter else [*_weights_faults(path), *_config_faults(path)]
    return [*model, *_tokenizer_faults(path)]


def is_scripted(path: Path) -> bool:
    """Whether a folder holds a model of the scripted engine."""
    return (path / _SCRIPTED).exists()


def refuse_unless_checkpoint(path: Path) -> None:
    """Raises InputError unless `path` holds a model."""
    if faults := checkpoint_faults(path):
        raise InputError(
            f"{path}: a checkpoint is a Hugging Face folder (config.json, *.safetensors, "
            f"tokenizer), but {' and '.join(faults)}. Name another folder, or make the model first."
        )


def read_json_object(file: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no such file or it holds something else."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_tensors(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The tensors that a safetensors file names (`shape`, `data_offsets`), and where they begin.

    Only the header is read. The safetensors library would refuse a file that is cut off without
    telling how long it must be.

    Raises:
        ValueError: The file has no whole header. The message ends a sentence about the file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise ValueError(f"is cut off or no safetensors file ({size} bytes)")
        header = stream.read(length)
    try:
        tensors = json.loads(header)
    except ValueError:
        tensors = None
    if not isinstance(tensors, dict):
        raise ValueError("is no safetensors file: its header is no JSON")
    tensors.pop("__metadata__", None)
    return tensors, 8 + length


def _weights_faults(path: Path) -> list[str]:
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        return [_pickled(pickles[0]) if pickles else "it holds no *.safetensors file"]
    faults = [fault for file in weights for fault in _safetensors_faults(file)]
    index = read_json_object(path / "model.safetensors.index.json")
    named = set(index.get("weight_map", {}).values()) if index else set()
    missing = sorted(named - {file.name for file in weights})
    return faults + [f"it lacks {name}, which its index names" for name in missing]


def _pickled(name: str) -> str:
    return (
        f"its weights are pickles ({name}), which run code when they are read, so only safetensors "
        "are accepted (if you trust them, load them with transformers' "
        "AutoModelForCausalLM.from_pretrained and write them with save_pretrained)"
    )


def _safetensors_faults(file: Path) -> list[str]:
    with file.open("rb") as stream:
        if stream.read(len(_LFS)) == _LFS:
            return [f"its {file.name} is a Git LFS pointer without the weights (run git lfs pull)"]
    try:
        tensors, start = read_tensors(file)
    except ValueError as error:
        return [f"its {file.name} {error}"]
    try:
        whole = start + max((one["data_offsets"][1] for one in tensors.values()), default=0)
    except (LookupError, TypeError):
        return [f"its {file.name} is no safetensors file: its header lacks the tensors' offsets"]
    size = file.stat().st_size
    return [] if size == whole else [f"its {file.name} is cut off: {size} of {whole} bytes"]


def _adapter_faults(path: Path) -> list[str]:
    faults = [f"it holds no {name}" for name in _ADAPTER if not (path / name).exists()]
    if not faults:
        faults += _safetensors_faults(path / _ADAPTER[1])
    base = (read_json_object(path / _ADAPTER[0]) or {}).get("base_model_name_or_path")
    if not base or not Path(base).is_dir():
        faults.append(f"the base model its adapter_config.json names ({base}) is no folder")
    return faults


def _config_faults(path: Path) -> list[str]:
    file = path / "config.json"
    if not file.exists():
        return ["it holds no config.json"]
    config = read_json_object(file)
    if config is None:
        return ["its config.json is no JSON"]
    return [] if config.get("model_type") else ["its config.json names no model_type"]


def _tokenizer_faults(path: Path) -> list[str]:
    if not any(path.glob("tokenizer*.json")):
        return ["it holds no tokenizer (tokenizer.json; copy it from the model it was made from)"]
    file = path / "tokenizer.json"
    if not file.exists():
        return []
    config = read_json_object(path / "config.json") or {}
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    stat = file.stat()
    vocabulary = _read_vocabulary(file, stat.st_mtime_ns, stat.st_size)
    if vocabulary is None:
        return ["its tokenizer.json is no JSON, or a Git LFS pointer (run git lfs pull)"]
    return _vocabulary_faults(path, vocabulary, size or sys.maxsize)


@dataclass(frozen=True)
class _Vocabulary:
    """What a tokenizer.json says of token ids."""

    highest: int
    """The largest id of a piece that ordinary text can hold; -1 if there is none."""
    special: dict[str, int]
    """The ids of the special tokens, which no text of a user or a model becomes."""
    framing: str
    """What the tokenizer puts around every text, as JSON."""


def _vocabulary_faults(path: Path, vocabulary: _Vocabulary, size: int) -> list[str]:
    """Why a tokenizer does not fit a model of `size` embeddings: the first reason, or none.

    A special token without an embedding does no harm as long as nothing writes it, such as the
    placeholder for images in Gemma 3's models of text.
    """
    if vocabulary.highest >= size:
        return [_vocabulary_fault(f"has ids up to {vocabulary.highest}", size)]
    beyond = {token: number for token, number in vocabulary.special.items() if number >= size}
    if not beyond:
        return []
    written = [vocabulary.framing, *_written_texts(path)]
    for token, number in beyond.items():
        if any(token in text for text in written):
            return [_vocabulary_fault(f"writes the special token {token}, id {number}", size)]
    return []


def _vocabulary_fault(what: str, size: int) -> str:
    return (
        f"its tokenizer {what}, but the model's vocab_size is {size} (they belong to different "
        "models)"
    )


def _written_texts(path: Path) -> Iterator[str]:
    """The texts that hold every token that a chat template or a setting writes."""
    settings = read_json_object(path / "tokenizer_config.json") or {}
    for name in _NAMED_TOKENS:
        token = settings.get(name)
        yield str(token.get("content") if isinstance(token, dict) else token)
    yield str(settings.get("chat_template"))
    for name in _TEMPLATES:
        if (path / name).is_file():
            yield (path / name).read_text("utf-8", errors="replace")


@lru_cache(maxsize=64)
def _read_vocabulary(file: Path, _mtime: int, _size: int) -> _Vocabulary | None:
    """The vocabulary by the file's path and state; None if the file holds no JSON object."""
    content = read_json_object(file)
    if not content:
        return None
    added = content.get("added_tokens") or []
    special = {str(token["content"]): token["id"] for token in added if _is_special(token)}
    model = content.get("model") or {}
    pieces = model.get("vocab") or {}
    # Unigram models list their pieces; the others map them to ids. A BPE tokenizer never turns
    # text into a special piece, although its vocabulary lists that piece.
    if not isinstance(pieces, dict):
        ids: list[int] = list(range(len(pieces)))
    elif model.get("type") == "BPE":
        ids = [number for piece, number in pieces.items() if piece not in special]
    else:
        ids = list(pieces.values())
    ids += [token.get("id", -1) for token in added if not _is_special(token)]
    framing = json.dumps(content.get("post_processor"), ensure_ascii=False)
    return _Vocabulary(max(ids, default=-1), special, framing)


def _is_special(token: dict[str, Any]) -> bool:
    return bool(token.get("special")) and "content" in token and "id" in token
