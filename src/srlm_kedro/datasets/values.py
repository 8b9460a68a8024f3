"""Datasets of small values that no stage computes.

These are constants of the catalog (what the first iteration gets in place of an earlier one's
outputs), the answer of a gate, the machine's memory, and how long nodes took.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro_datasets.json import JSONDataset

from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.engines import machine
from srlm_kedro.engines.cluster import machines_of
from srlm_kedro.freshness.manifest import SUFFIX, read_manifest

_GIB = 2**30


class ConstantDataset(ReadOnlyDataset[Any]):
    """A value that is written in `conf/`, given as it is or as a table."""

    ORIGIN = "a constant comes from conf/"

    def __init__(self, value: Any, table: bool = False, metadata: dict[str, Any] | None = None):
        """Takes the value.

        Args:
            value: Anything that YAML can hold.
            table: Whether `value` maps columns to lists and is loaded as a DataFrame.
            metadata: Free notes.
        """
        self._value = value
        self._table = table
        self.metadata = metadata

    def load(self) -> Any:
        """The value."""
        return pd.DataFrame(self._value) if self._table else self._value

    def fingerprint(self) -> Any:
        """The value itself."""
        return self._value

    def _describe(self) -> dict[str, Any]:
        return {"value": self._value}


class GateDataset(JSONDataset):
    """What a gate says when it lets a run go on: it orders nodes and is no part of a recipe.

    When a limit changes, the gate is asked again, and nothing is trained again.
    """

    def fingerprint(self) -> dict[str, Any]:
        """Nothing: what runs after the gate is made from the tables, not from the limits."""
        return {}


class MachineDataset(ReadOnlyDataset[dict[str, float | str]]):
    """What a run has to work with.

    `memory`: the GiB of RAM that the machine has, or that its container may use. `gpus` and `gpu`:
    the number and the name of its GPUs. Of a cluster these are the figures of all its nodes
    (`cluster.machines_of`), with their number as `nodes`.
    """

    ORIGIN = "the machine's figures are measured"

    def __init__(
        self, replicas: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ):
        """Names the place.

        Args:
            replicas: Of the generation engine; with an `address` they are on a cluster. None: one
                process works, which takes no GPU but its own.
            metadata: Free notes.
        """
        self._replicas, self.metadata = replicas, metadata

    @property
    def of_cluster(self) -> bool:
        """Whether the figures are those of a cluster."""
        return bool((self._replicas or {}).get("address"))

    def load(self) -> dict[str, float | str]:
        """The figures.

        Raises:
            InputError: No cluster answers at the address.
        """
        found: dict[str, float | str] = {"memory": round(machine.memory() / _GIB, 1)}
        if self._replicas is None:
            return found
        if address := self._replicas.get("address"):
            return found | machines_of(address)
        return found | machine.gpus()

    def fingerprint(self) -> dict[str, float | str]:
        """The figures themselves."""
        return self.load()

    def _describe(self) -> dict[str, Any]:
        return {}


class TimingsDataset(ReadOnlyDataset[pd.DataFrame]):
    """A table (model, node, seconds) from the manifests beneath the given folders."""

    ORIGIN = "timings are read from manifests"

    def __init__(self, folders: list[str], metadata: dict[str, Any] | None = None):
        """Takes the folders; a folder that is named twice is read once."""
        self._folders = [Path(folder) for folder in dict.fromkeys(folders)]
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """One row per node of a model, with the seconds of the run that made its outputs.

        What no node has made, such as a folder of weights from a GGUF file, has no row.
        """
        files = sorted(file for folder in self._folders for file in folder.glob(f"0*/**/*{SUFFIX}"))
        outputs = [file.with_name(file.name.removesuffix(SUFFIX)) for file in files]
        notes = filter(None, map(read_manifest, outputs))
        made = [note for note in notes if "." in note.get("node", "")]
        rows = [(*note["node"].rsplit(".", 1), note["seconds"]) for note in made]
        table = pd.DataFrame(rows, columns=["model", "node", "seconds"])
        return table.drop_duplicates(["model", "node"]).reset_index(drop=True)

    def fingerprint(self) -> dict[str, Any]:
        """Nothing: a table of times makes no result stale."""
        return {}

    def _describe(self) -> dict[str, Any]:
        return {"folders": [str(folder) for folder in self._folders]}
