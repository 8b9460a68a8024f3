"""What the machine of this run has."""

from typing import Any

from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.engines import machine

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
