"""Small fixed values of the catalog: what the first iteration gets in place of an earlier one's."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets.json import JSONDataset

from srlm_kedro.engines import machine
from srlm_kedro.freshness.manifest import SUFFIX, read_manifest


class ConstantDataset(AbstractDataset[None, Any]):
    """A value written in `conf/`, given as it is, or as a table when it maps columns to lists."""

    def __init__(self, value: Any, table: bool = False, metadata: dict[str, Any] | None = None):
        self._value = value
        self._table = table
        self.metadata = metadata

    def load(self) -> Any:
        """The value."""
        return pd.DataFrame(self._value) if self._table else self._value

    def save(self, data: None) -> None:
        raise DatasetError("a constant comes from conf/ and cannot be saved.")

    def fingerprint(self) -> Any:
        """The value itself."""
        return self._value

    def _describe(self) -> dict[str, Any]:
        return {"value": self._value}


class GateDataset(JSONDataset):
    """What a gate says when it lets a run go on; it orders nodes and is no part of a recipe.

    A limit that is changed has the gate asked again, and nothing trained again.
    """

    def fingerprint(self) -> dict[str, Any]:
        """Nothing: whoever passed the gate was made from the tables, not from the limits."""
        return {}


_GIB = 2**30


class MachineDataset(AbstractDataset[None, dict[str, float]]):
    """`memory`: GiB that the machine has, or that its container may take."""

    def __init__(self, metadata: dict[str, Any] | None = None):
        self.metadata = metadata

    def load(self) -> dict[str, float]:
        """The figures."""
        return {"memory": round(machine.memory() / _GIB, 1)}

    def save(self, data: None) -> None:
        raise DatasetError("a machine is looked at and cannot be saved.")

    def fingerprint(self) -> dict[str, float]:
        """The figures themselves."""
        return self.load()

    def _describe(self) -> dict[str, Any]:
        return {}


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
