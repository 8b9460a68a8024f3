"""How long each stage took, read from the manifests of what it made."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.manifest import SUFFIX, read_manifest


class TimingsDataset(AbstractDataset[None, pd.DataFrame]):
    """A table (model, node, seconds) over the manifests below the given folders."""

    def __init__(self, folders: list[str], metadata: dict[str, Any] | None = None):
        self._folders = [Path(folder) for folder in dict.fromkeys(folders)]
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """One row a node, with the seconds of the run that made its outputs."""
        files = sorted(file for folder in self._folders for file in folder.glob(f"0*/**/*{SUFFIX}"))
        outputs = [file.with_name(file.name.removesuffix(SUFFIX)) for file in files]
        notes = filter(None, map(read_manifest, outputs))
        rows = [
            (*note["node"].rsplit(".", 1), note["seconds"]) for note in notes if "." in note["node"]
        ]
        table = pd.DataFrame(rows, columns=["model", "node", "seconds"])
        return table.drop_duplicates(["model", "node"]).reset_index(drop=True)

    def save(self, data: None) -> None:
        raise DatasetError("timings are read from manifests and cannot be saved.")

    def fingerprint(self) -> dict[str, Any]:
        """Nothing: a table of times makes no result stale."""
        return {}

    def _describe(self) -> dict[str, Any]:
        return {"folders": [str(folder) for folder in self._folders]}
