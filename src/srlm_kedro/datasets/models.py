"""Models in the catalog: a handle by path, moved into place whole."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.datasets.model_folder import checkpoint_faults, refuse_unless_checkpoint
from srlm_kedro.freshness.manifest import current_digest
from srlm_kedro.records import Checkpoint


class CheckpointDataset(AbstractDataset[Checkpoint, Checkpoint]):
    """A Hugging Face folder: full weights or an adapter.

    Loading gives its path; weights are loaded by engines.
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
        beside = target.with_name(f".{target.name}.new")
        if beside.exists():  # a kill has left it
            shutil.rmtree(beside)
        shutil.move(data.path, beside)
        beside.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(beside, target)

    def _exists(self) -> bool:
        return not checkpoint_faults(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "name": self._name}


class ChosenCheckpointDataset(CheckpointDataset):
    """A small file that names a model's folder and its digest; no weights are copied.

    The digest makes another choice, and the same choice of a model that was remade, another file,
    so that what is made from it is remade too. Loading gives the chosen folder under `name`, its
    place in the chain (`m2`, whichever model it is): seeds, ids and schedules of what comes next
    go by the iteration.
    """

    def load(self) -> Checkpoint:
        """The handle of the chosen model.

        Raises:
            DatasetError: What was chosen is no checkpoint any more.
        """
        folder = json.loads(self._filepath.read_text("utf-8"))["folder"]
        path = Path(os.path.normpath(self._filepath.parent / folder))
        refuse_unless_checkpoint(path)
        return Checkpoint(path, self._name)

    def save(self, data: Checkpoint) -> None:
        """Notes the folder of the given handle, relative to the note, so that data can move."""
        note = {
            "folder": Path(os.path.relpath(data.path, self._filepath.parent)).as_posix(),
            "digest": current_digest(data.path),
        }
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        self._filepath.write_text(json.dumps(note, indent=1) + "\n", "utf-8")

    def _exists(self) -> bool:
        return self._filepath.exists()


class ServedModelDataset(AbstractDataset[None, Checkpoint]):
    """The handle of a model that an engine asks for by name, such as GPT-4 behind a server."""

    def __init__(self, name: str, metadata: dict[str, Any] | None = None):
        """`name` is the server's name of the model, unless the engine's options say another."""
        self._name = name
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """A handle whose path leads nowhere."""
        return Checkpoint(Path(f"server/{self._name}"), self._name)

    def save(self, data: None) -> None:
        raise DatasetError(f"{self._name}: a served model comes from conf/ and cannot be saved.")

    def fingerprint(self) -> dict[str, Any]:
        """The name: what stands behind it is the server's."""
        return {"served": self._name}

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}
