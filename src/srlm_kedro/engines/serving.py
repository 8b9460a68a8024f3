"""A checkpoint behind MLflow's serving: it answers each prompt with one response.

MLflow finds this module by its name in the file `MLmodel` of every registered model.
"""

from pathlib import Path
from typing import Any

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.records import Checkpoint


class ServedCheckpoint:
    """Answers tables with a column `prompt`, in the model's chat format."""

    def __init__(self, folder: Path):
        """`folder` is a Hugging Face folder."""
        self._checkpoint = Checkpoint(folder, folder.name)
        self._engine = TransformersEngine(dtype="auto")

    def predict(self, table: Any, params: dict[str, Any] | None = None) -> list[str]:
        """The response to each prompt.

        Args:
            table: A DataFrame with a column `prompt`.
            params: Fields of `Sampling` (`temperature`, `max_new_tokens`, ...), and `seed`.
        """
        options = dict(params or {})
        seed = options.pop("seed", 0)
        requests = [Request(str(row), text) for row, text in enumerate(table["prompt"])]
        rows = self._engine.generate(self._checkpoint, requests, Sampling(**options), seed)
        return [completions[0].text for completions in rows]


def _load_pyfunc(path: str) -> ServedCheckpoint:
    """Loads the folder that holds the file `MLmodel`; MLflow calls this by its name."""
    return ServedCheckpoint(Path(path))
