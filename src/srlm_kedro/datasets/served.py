"""Models that a server holds: a name and no folder."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from srlm_kedro.records import Checkpoint


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
