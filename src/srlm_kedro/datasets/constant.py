"""Small fixed values of the catalog: what the first iteration gets in place of an earlier one's."""

from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError


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
