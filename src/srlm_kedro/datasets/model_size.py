"""How large a model is, without loading it and without asking anybody."""

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


class ModelSizeDataset(AbstractDataset[None, dict[str, Any]]):
    """Parameters, layers and widths of a given model, where all of it lies on this machine.

    A model of the hub is looked for in the hub library's cache; nothing is downloaded.
    """

    def __init__(self, model: str, metadata: dict[str, Any] | None = None):
        """`model` is a folder, or `hub:owner/name[@revision]`."""
        self._model = model
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """Keys `model` (its name as given), and where it lies here whole `parameters`, `layers`,
        `hidden_size`, `kv_size`, `vocabulary`.

        Raises:
            InputError: A file there is no safetensors file, or the configuration names no sizes.
        """
        named = {"model": self._model}
        try:
            folder = self._folder()
            files = _weights(folder) if folder else []
            if not folder or not files:
                return named
            config = json.loads((folder / "config.json").read_text("utf-8"))
            return {**named, "parameters": sum(map(count_parameters, files)), **_shape(config)}
        except (struct.error, ValueError, LookupError, StopIteration) as error:
            raise InputError(
                f"{self._model}: the model's size cannot be read ({error}). Put the whole model "
                "there, or state its size in `estimate.model`."
            ) from error

    def save(self, data: None) -> None:
        raise DatasetError("a model's size is read from its folder and cannot be saved.")

    def fingerprint(self) -> dict[str, Any]:
        """The size itself."""
        return self.load()

    def _describe(self) -> dict[str, Any]:
        return {"model": self._model}

    def _folder(self) -> Path | None:
        if not self._model.startswith("hub:"):
            return Path(self._model)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        repo, _, revision = self._model.removeprefix("hub:").partition("@")
        try:
            found = snapshot_download(repo, revision=revision or None, local_files_only=True)
        except LocalEntryNotFoundError:
            return None
        return Path(found)


def _weights(folder: Path) -> list[Path]:
    """The files that hold the model's weights; none unless all are there."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = json.loads(index.read_text("utf-8"))["weight_map"].values()
        files = [folder / name for name in sorted(set(named))]
    whole = (folder / "config.json").is_file() and all(file.is_file() for file in files)
    return files if whole else []


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
