"""Models in the catalog: a handle by path, moved into place whole."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint

_WEIGHTS = ("*.safetensors", "model.json")
"""One of these must be there: a real model's weights, or a scripted model's record."""


class CheckpointDataset(AbstractDataset[Checkpoint, Checkpoint]):
    """A Hugging Face folder. Loading gives its path; weights are loaded by engines.

    Saving moves the folder of the given handle (an engine's scratch folder) to `filepath`.
    """

    def __init__(self, filepath: str, name: str, metadata: dict[str, Any] | None = None):
        """`name` is the model's place in the chain (`m0`, `sft`, `m1`, ...)."""
        self._filepath = Path(filepath)
        self._name = name
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """The handle, once the folder is seen to hold a model.

        Raises:
            DatasetError: The folder is no checkpoint.
        """
        refuse_unless_checkpoint(self._filepath)
        return Checkpoint(self._filepath, self._name)

    def save(self, data: Checkpoint) -> None:
        """Moves the handle's folder to `filepath`; an older model there is replaced."""
        if not data.path.is_dir():
            raise DatasetError(f"{self._name}: {data.path} is no folder; nothing was saved.")
        target = self._filepath
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        shutil.move(data.path, beside)
        beside.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(beside, target)

    def _exists(self) -> bool:
        return not checkpoint_faults(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "name": self._name}


def checkpoint_faults(path: Path) -> list[str]:
    """Why a folder is no checkpoint: every reason, or none."""
    if not path.is_dir():
        return ["there is no such folder"]
    if not any(file for pattern in _WEIGHTS for file in path.glob(pattern)):
        return ["it holds no *.safetensors file"]
    if (path / "model.json").exists():
        return []
    needed = {"config.json": "config.json", "tokenizer": "tokenizer*.json"}
    faults = [f"it holds no {name}" for name, glob in needed.items() if not any(path.glob(glob))]
    return faults + [f for file in path.glob("config.json") for f in _config_faults(file)]


def refuse_unless_checkpoint(path: Path) -> None:
    """Raises InputError unless `path` holds a model."""
    if faults := checkpoint_faults(path):
        raise InputError(
            f"{path}: a checkpoint is a Hugging Face folder (config.json, *.safetensors, "
            f"tokenizer), but {' and '.join(faults)}. Name another folder, or make the model first."
        )


def _config_faults(file: Path) -> list[str]:
    try:
        config = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return ["its config.json is no JSON"]
    return [] if config.get("model_type") else ["its config.json names no model_type"]
