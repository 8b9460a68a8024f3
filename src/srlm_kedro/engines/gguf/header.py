"""What a GGUF file says about its model, read without any model library.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
SUFFIX = ".gguf"
_LFS = b"version https://git-lfs"
_VERSIONS = (2, 3)
_SCALARS = dict(enumerate("BbHhIifB")) | {10: "Q", 11: "q", 12: "d"}
"""The format of each type of number, as `struct` names it. 7 is a truth value."""
_TEXT, _LIST = 8, 9
_LAYER = re.compile(r"blk\.(\d{1,6})\.")
_EMBEDDINGS = "token_embd.weight"
_ROTARY = "rope_"
"""What the names of tensors begin with that hold factors of the rotary embedding, not weights."""
_SCALING_READ = ("gpt-oss", "gpt_oss", "gptoss")
"""The architectures whose scaling of the rotary embedding transformers reads from GGUF."""


@dataclass(frozen=True)
class Tensor:
    """A tensor's entry in the file."""

    shape: tuple[int, ...]
    """Rows first, as in torch."""
    kind: int
    """The number of its type: 0 is float32, 3 is Q4_1, ..."""


@dataclass(frozen=True)
class Header:
    """Everything in a GGUF file but the weights."""

    fields: dict[str, Any]
    """The metadata; a list of texts is given by its length."""
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        """Its name in llama.cpp: `llama`, `qwen2`, `gemma2`, ..."""
        return str(self.fields.get("general.architecture", ""))

    def own(self, name: str, default: Any = None) -> Any:
        """A field of the architecture: `block_count` is `llama.block_count` for a Llama."""
        return self.fields.get(f"{self.architecture}.{name}", default)

    def sizes(self) -> dict[str, int]:
        """`parameters`, `layers`, `hidden_size`, `kv_size` and `vocabulary`.

        Raises:
            LookupError: The file does not state them.
        """
        weights = [one for name, one in self.tensors.items() if not name.startswith(_ROTARY)]
        prefix = f"{self.architecture}."
        width, heads = (
            self.fields[prefix + name] for name in ("embedding_length", "attention.head_count")
        )
        head = self.own("attention.key_length") or width // _largest(heads)
        return {
            "parameters": sum(math.prod(one.shape) for one in weights),
            "layers": self.fields[prefix + "block_count"],
            "hidden_size": width,
            "kv_size": head * _largest(self.own("attention.head_count_kv") or heads),
            "vocabulary": self.tensors[_EMBEDDINGS].shape[0],
        }

    def faults(self) -> list[str]:
        """Why no whole model can be made from the file; each ends a sentence about it."""
        found = []
        if self.own("block_count") is None or _EMBEDDINGS not in self.tensors:
            found.append("it holds no language model (no layers, or no embeddings)")
        elif self.own("block_count") != self._layers():
            found.append(f"it states {self.own('block_count')} layers and holds {self._layers()}")
        parts = self.fields.get("split.count", 1)
        if parts != 1 and parts != 0:
            found.append(
                f"it is one of {parts} parts (join them with llama.cpp's llama-gguf-split --merge)"
            )
        if not self.fields.get("tokenizer.ggml.model") or not self._tokens():
            found.append("it holds no tokenizer (no tokenizer.ggml.model or no tokens)")
        elif _EMBEDDINGS in self.tensors and self.tensors[_EMBEDDINGS].shape[0] < self._tokens():
            found.append(
                f"its tokenizer has {self._tokens()} tokens, but the model has "
                f"{self.tensors[_EMBEDDINGS].shape[0]} embeddings"
            )
        if scaled := self._scaled():
            found.append(
                f"its rotary embedding is scaled ({scaled}), which transformers does not read from "
                "GGUF, so that it would be another model"
            )
        return found

    def _layers(self) -> int:
        """The layers of which there are tensors, by their largest number."""
        numbers = (_LAYER.match(name) for name in self.tensors)
        return max((int(number[1]) for number in numbers if number), default=-1) + 1

    def _tokens(self) -> int:
        tokens = self.fields.get("tokenizer.ggml.tokens", 0)
        return tokens if isinstance(tokens, int) else 0

    def _scaled(self) -> str:
        """What scales the rotary embedding; empty if nothing does that transformers leaves out."""
        if self.architecture in _SCALING_READ:
            return ""
        kind = self.own("rope.scaling.type", "none")
        field = f"rope.scaling.type: {kind}" if kind != "none" else ""
        return next((name for name in self.tensors if name.startswith(_ROTARY)), field)


def read_header(file: Path) -> Header:
    """The header of a GGUF file.

    Raises:
        ValueError: It is no GGUF file, or damaged. The message ends a sentence about the file.
    """
    with file.open("rb") as stream:
        start = stream.read(len(_LFS))
        if start == _LFS:
            raise ValueError("is a Git LFS pointer without the weights (run git lfs pull)")
        if not start.startswith(MAGIC):
            raise ValueError(f"is no GGUF file: it begins with {start[:4]!r}, not with {MAGIC!r}")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _parse(content)
            except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
                raise ValueError(f"is cut off or damaged: {error}") from error


def is_gguf(path: Path) -> bool:
    """Whether a path names a GGUF file, which need not exist."""
    return path.is_file() or (path.suffix.lower() == SUFFIX and not path.is_dir())


def _parse(content: mmap.mmap) -> Header:
    cursor = _Cursor(content, len(MAGIC))
    version = cursor.number("I")
    if version not in _VERSIONS:
        known = " and ".join(map(str, _VERSIONS))
        raise ValueError(f"has version {version} of GGUF; versions {known} can be read")
    tensor_count, field_count = cursor.number("Q"), cursor.number("Q")
    fields: dict[str, Any] = {}
    for _ in range(field_count):
        name = cursor.text()
        fields[name] = cursor.value(cursor.number("I"))
    tensors, last = {}, 0
    for _ in range(tensor_count):
        name = cursor.text()
        shape = [cursor.number("Q") for _ in range(cursor.number("I"))]
        tensors[name] = Tensor(tuple(reversed(shape)), cursor.number("I"))
        last = max(last, cursor.number("Q"))
    alignment = fields.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"is damaged: its general.alignment is {alignment!r}")
    start = -(-cursor.at // alignment) * alignment
    if tensors and start + last >= len(content):
        raise ValueError(
            f"is cut off: it has {len(content)} bytes, and its last tensor begins at {start + last}"
        )
    return Header(fields, tensors)


class _Cursor:
    """Reads values one after another."""

    def __init__(self, content: mmap.mmap, at: int):
        self._content, self.at = content, at

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self._content, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> str:
        start = self.at + 8
        self.at = self._end_of_text()
        return self._content[start : self.at].decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self.text()
        if kind == _LIST:
            return self._list(self.number("I"), self.number("Q"))
        return self.number(self._scalar(kind))

    def _list(self, kind: int, count: int) -> Any:
        """The numbers of a list; the length of a list of texts."""
        if kind == _TEXT:
            for _ in range(count):
                self.at = self._end_of_text()
            return count
        form = self._scalar(kind)
        end = self.at + count * struct.calcsize(form)
        if end > len(self._content):
            raise IndexError(f"a list ends at byte {end} of {len(self._content)}")
        values = struct.unpack_from(f"<{count}{form}", self._content, self.at)
        self.at = end
        return list(values)

    def _end_of_text(self) -> int:
        (length,) = struct.unpack_from("<Q", self._content, self.at)
        end = self.at + 8 + length
        if end > len(self._content):
            raise IndexError(f"a text ends at byte {end} of {len(self._content)}")
        return end

    @staticmethod
    def _scalar(kind: int) -> str:
        if kind not in _SCALARS:
            raise ValueError(f"is damaged: its metadata has a value of the unknown type {kind}")
        return _SCALARS[kind]


def _largest(number: Any) -> int:
    """The largest of a number for each layer; a number itself."""
    return max(number) if isinstance(number, list) else number
