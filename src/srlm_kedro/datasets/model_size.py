"""How large the model in a folder is, without loading it."""

import json
import math
import struct
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.errors import InputError

_LENGTH = struct.Struct("<Q")
_NAMES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "hidden_size": ("hidden_size", "n_embd"),
    "vocabulary": ("vocab_size",),
}


class ModelSizeDataset(AbstractDataset[None, dict[str, float]]):
    """Parameters, layers and widths of a Hugging Face folder; empty where there is none."""

    def __init__(self, folder: str, metadata: dict[str, Any] | None = None):
        self._folder = Path(folder)
        self.metadata = metadata

    def load(self) -> dict[str, float]:
        """Keys `parameters`, `layers`, `hidden_size`, `kv_size`, `vocabulary`.

        Raises:
            InputError: A file there is no safetensors file, or the configuration names no sizes.
        """
        files = sorted(self._folder.glob("*.safetensors"))
        config = self._folder / "config.json"
        if not files or not config.is_file():
            return {}
        try:
            parameters = sum(map(count_parameters, files))
            return {"parameters": parameters, **_shape(json.loads(config.read_text("utf-8")))}
        except (struct.error, ValueError, LookupError, StopIteration) as error:
            raise InputError(
                f"{self._folder}: the model's size cannot be read ({error}). Put the whole model "
                "there, or state its size in `estimate.model`."
            ) from error

    def save(self, data: None) -> None:
        raise DatasetError("a model's size is read from its folder and cannot be saved.")

    def fingerprint(self) -> dict[str, float]:
        """The size itself."""
        return self.load()

    def _describe(self) -> dict[str, Any]:
        return {"folder": str(self._folder)}


def count_parameters(file: Path) -> int:
    """Elements of all tensors in a safetensors file, read from its header alone."""
    with file.open("rb") as stream:
        (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
        header = json.loads(stream.read(length))
    return sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")


def _shape(config: dict[str, Any]) -> dict[str, float]:
    own = config.get("text_config") or config
    found = {key: _first(own, names) for key, names in _NAMES.items()}
    heads = _first(own, ("num_attention_heads", "n_head"))
    width = own.get("head_dim") or found["hidden_size"] // heads
    return {**found, "kv_size": width * (own.get("num_key_value_heads") or heads)}


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int:
    return next(config[name] for name in names if name in config)
