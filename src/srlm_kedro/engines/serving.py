"""A checkpoint behind MLflow's serving: prompts in, one response each out."""

from pathlib import Path
from typing import Any

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.records import Checkpoint


class Server:
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
        asked = dict(params or {})
        seed = asked.pop("seed", 0)
        requests = [Request(str(row), text) for row, text in enumerate(table["prompt"])]
        drawn = self._engine.generate(self._checkpoint, requests, Sampling(**asked), seed)
        return [completions[0].text for completions in drawn]


def _load_pyfunc(path: str) -> Server:
    """What MLflow calls to load the folder that holds its file `MLmodel`."""
    return Server(Path(path))
