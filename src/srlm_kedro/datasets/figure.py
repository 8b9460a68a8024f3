"""The dataset of plotly figures.

kedro-datasets' own imports plotly whenever the catalog is looked at, which adds 2 s and 100 MB to
every start.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import PlotlyPreview

from srlm_kedro.freshness.digests import write_atomically

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class FigureDataset(AbstractDataset["Figure", "Figure"]):
    """A plotly figure as a JSON file, which kedro-viz shows beside its node."""

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None):
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> "Figure":
        """The figure."""
        import plotly.io

        return plotly.io.from_json(self._filepath.read_text("utf-8"))

    def save(self, data: "Figure") -> None:
        """Writes the figure atomically."""
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._filepath, data.to_json().encode())

    def preview(self) -> PlotlyPreview:
        """What kedro-viz draws."""
        return json.loads(self._filepath.read_text("utf-8"))

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
