"""Seed data: JSON lines that a person can read, checked row by row with file and line."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro.utils import load_obj
from pydantic import BaseModel, ValidationError

from srlm_kedro.errors import InputError, summary


class SeedDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A table kept as JSON lines; `record` names the pydantic class that each row must fit."""

    def __init__(self, filepath: str, record: str, metadata: dict[str, Any] | None = None):
        self._filepath = Path(filepath)
        self._record: type[BaseModel] = load_obj(record)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """All rows.

        Raises:
            DatasetError: Rows that do not fit, each with file and line.
        """
        rows, faults = [], []
        with self._filepath.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    rows.append(self._row(line))
                except ValueError as error:
                    faults.append(f"{self._filepath}, line {number}: {_said(error)}")
        if faults:
            rule = f"rows must be JSON objects of {', '.join(self._record.model_fields)}"
            raise InputError(summary(f"{self._filepath}: {len(faults)} bad rows; {rule}.", faults))
        return pd.DataFrame(rows, columns=list(self._record.model_fields))

    def save(self, data: pd.DataFrame) -> None:
        """Writes one JSON object a line, in the order of the rows."""
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        rows = [self._record.model_validate(row).model_dump() for row in data.to_dict("records")]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        self._filepath.write_text("\n".join(lines) + "\n", "utf-8")

    def _row(self, line: bytes) -> dict[str, Any]:
        return self._record.model_validate(json.loads(line.decode("utf-8"))).model_dump()

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "record": self._record.__name__}


def _said(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'row'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
    return f"not a JSON object in UTF-8 ({error})"
