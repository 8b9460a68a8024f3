"""Datasets that give the handle of a model: its folder, a choice among models, or a served one.

A handle is a `Checkpoint`: a path and a name. Engines load the weights.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.datasets.model_folder import checkpoint_faults, refuse_unless_checkpoint
from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.freshness.manifest import current_digest
from srlm_kedro.records import Checkpoint


class CheckpointDataset(AbstractDataset[Checkpoint, Checkpoint]):
    """A Hugging Face folder with full weights or an adapter.

    Saving moves the folder of the given handle (an engine's scratch folder) to `filepath`.
    """

    def __init__(self, filepath: str, name: str, metadata: dict[str, Any] | None = None):
        """`name` is the model's place in the chain (`m0`, `sft`, `m1`, ...)."""
        self._filepath = Path(filepath)
        self._name = name
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """The handle.

        Raises:
            DatasetError: The folder is no checkpoint.
        """
        refuse_unless_checkpoint(self._filepath)
        return Checkpoint(self._filepath, self._name)

    def save(self, data: Checkpoint) -> None:
        """Moves the handle's folder to `filepath` and replaces an older model there."""
        if not data.path.is_dir():
            raise DatasetError(f"{self._name}: {data.path} is no folder; nothing was saved.")
        target = self._filepath
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.new")
        if scratch.exists():  # left behind by a kill
            shutil.rmtree(scratch)
        shutil.move(data.path, scratch)
        scratch.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)

    def _exists(self) -> bool:
        return not checkpoint_faults(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "name": self._name}


class ChosenCheckpointDataset(CheckpointDataset):
    """A small file that names the folder and the digest of a chosen model; no weights are copied.

    Another choice gives another file, and so does the same choice of a model that was remade: then
    everything that was made from the file is remade too. The loaded handle has the name of its
    place in the chain (`m2`, whichever model was chosen), because seeds, ids and schedules of the
    next stages depend on the iteration.
    """

    def load(self) -> Checkpoint:
        """The handle of the chosen model.

        Raises:
            DatasetError: The chosen folder is no checkpoint any more.
        """
        folder = json.loads(self._filepath.read_text("utf-8"))["folder"]
        path = Path(os.path.normpath(self._filepath.parent / folder))
        refuse_unless_checkpoint(path)
        return Checkpoint(path, self._name)

    def save(self, data: Checkpoint) -> None:
        """Writes the handle's folder relative to the file, so that the data folder can move."""
        choice = {
            "folder": Path(os.path.relpath(data.path, self._filepath.parent)).as_posix(),
            "digest": current_digest(data.path),
        }
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        self._filepath.write_text(json.dumps(choice, indent=1) + "\n", "utf-8")

    def _exists(self) -> bool:
        return self._filepath.exists()


class ServedModelDataset(ReadOnlyDataset[Checkpoint]):
    """The handle of a model that a server knows by name, such as GPT-4."""

    ORIGIN = "the name of a served model comes from conf/"

    def __init__(self, name: str, metadata: dict[str, Any] | None = None):
        """`name` is the server's name of the model, unless the engine's options give another."""
        self._name = name
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """A handle whose path does not exist."""
        return Checkpoint(Path(f"server/{self._name}"), self._name)

    def fingerprint(self) -> dict[str, Any]:
        """The name: which model the server uses for it cannot be known here."""
        return {"served": self._name}

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}
