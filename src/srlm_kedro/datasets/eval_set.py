"""An evaluation set that a user may bring, or not."""

import json
import logging
from functools import cache
from pathlib import Path
from typing import Any

from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest

_log = logging.getLogger(__name__)


class EvalSetDataset(ReadOnlyDataset[list[dict[str, Any]] | None]):
    """Rows of JSON lines, as a benchmark published them; None if the file is not there."""

    ORIGIN = "an evaluation set comes from a file"

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None):
        """Names the file.

        Args:
            filepath: One JSON object per line.
            metadata: Free notes.
        """
        # Not `_filepath`: a run refuses a missing file of that name.
        self._file = Path(filepath)
        self.metadata = metadata

    def load(self) -> list[dict[str, Any]] | None:
        """The rows.

        Raises:
            DatasetError: A line holds no JSON object.
        """
        if not self._file.is_file():
            _log_once(f"{self._file} is not there, so no text is compared with it.")
            return None
        lines = self._file.read_text("utf-8").splitlines()
        return [self._row(number, line) for number, line in enumerate(lines, 1)]

    def fingerprint(self) -> dict[str, Any]:
        """The file's content."""
        return {"content": content_digest(self._file) if self._file.is_file() else None}

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{self._file}, line {number}: no JSON ({error}).") from error
        if not isinstance(row, dict):
            raise InputError(f"{self._file}, line {number}: no JSON object. Each line is one.")
        return row

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._file)}


@cache
def _log_once(line: str) -> None:
    """Logs a line once, although a run reads a set several times."""
    _log.info(line)
