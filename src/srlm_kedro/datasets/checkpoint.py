"""Models in the catalog: a handle by path, moved into place whole."""

import os
import shutil
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.datasets.folder import checkpoint_faults, refuse_unless_checkpoint
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
