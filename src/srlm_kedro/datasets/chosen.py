"""One model out of several in the catalog, by reference."""

import json
import os
from pathlib import Path

from srlm_kedro.datasets.checkpoint import CheckpointDataset
from srlm_kedro.datasets.folder import refuse_unless_checkpoint
from srlm_kedro.manifest import current_digest
from srlm_kedro.records import Checkpoint


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
