"""How large a model is, without loading it and without using the network."""

import json
import math
from pathlib import Path
from typing import Any

from srlm_kedro.datasets.gguf import gguf_file, sound_header
from srlm_kedro.datasets.hub import local_path, split_name
from srlm_kedro.datasets.model_folder import read_tensors
from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.engines.gguf.header import is_gguf
from srlm_kedro.errors import InputError

_NAMES = {
    "layers": ("num_hidden_layers", "n_layer"),
    "hidden_size": ("hidden_size", "n_embd"),
    "vocabulary": ("vocab_size",),
}
"""What each size is called in a config.json."""


class ModelSizeDataset(ReadOnlyDataset[dict[str, Any]]):
    """Parameters, layers and widths of a given model, if all of its files are on this machine.

    A model of the hub is looked for in the hub library's cache; nothing is downloaded. Of a GGUF
    file only the header is read; nothing is converted.
    """

    ORIGIN = "a model's size is read from its folder"

    def __init__(self, model: str, metadata: dict[str, Any] | None = None):
        """`model` is what `GivenModelDataset` takes."""
        self._model = model
        self.metadata = metadata

    def load(self) -> dict[str, Any]:
        """The model's sizes by name.

        Returns:
            `model` (its name as given) and, if the whole model is here, `parameters`, `layers`,
            `hidden_size`, `kv_size` and `vocabulary`.

        Raises:
            InputError: A file there is no safetensors or sound GGUF file, or the configuration
                names no sizes.
        """
        named = {"model": self._model}
        try:
            folder = self._folder()
            if folder and is_gguf(folder):
                return {**named, **sound_header(gguf_file(self._model)).sizes()}
            files = _weights(folder) if folder else []
            if not folder or not files:
                return named
            config = json.loads((folder / "config.json").read_text("utf-8"))
            return {**named, "parameters": sum(map(_parameters, files)), **_shape(config)}
        except InputError:
            raise
        except (ValueError, TypeError, ArithmeticError, LookupError, StopIteration) as error:
            raise InputError(
                f"{self._model}: the model's size cannot be read ({error}). Put the whole model "
                "there, or name another."
            ) from error

    def fingerprint(self) -> dict[str, Any]:
        """The size itself."""
        return self.load()

    def _describe(self) -> dict[str, Any]:
        return {"model": self._model}

    def _folder(self) -> Path | None:
        """The model's folder or file here; None if the model is in no cache."""
        if not self._model.startswith("hub:"):
            return local_path(self._model)
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        repo, revision = split_name(self._model)
        try:
            return Path(snapshot_download(repo, revision=revision, local_files_only=True))
        except LocalEntryNotFoundError:
            return None


def _weights(folder: Path) -> list[Path]:
    """The files of the model's weights; none unless all files are there."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = json.loads(index.read_text("utf-8"))["weight_map"].values()
        files = [folder / name for name in sorted(set(named))]
    whole = (folder / "config.json").is_file() and all(file.is_file() for file in files)
    return files if whole else []


def _parameters(file: Path) -> int:
    """The elements of all tensors in a safetensors file."""
    tensors, _ = read_tensors(file)
    return sum(math.prod(tensor["shape"]) for tensor in tensors.values())


def _shape(config: dict[str, Any]) -> dict[str, float]:
    text = config.get("text_config") or config
    found = {key: _first(text, names) for key, names in _NAMES.items()}
    heads = _first(text, ("num_attention_heads", "n_head"))
    width = text.get("head_dim") or found["hidden_size"] // heads
    return {**found, "kv_size": width * (text.get("num_key_value_heads") or heads)}


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int:
    return next(config[name] for name in names if name in config)
