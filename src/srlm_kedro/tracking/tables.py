"""Tables as MLflow shows them: the pairs as a training input, a sample of judged responses."""

import hashlib
import json

import pandas as pd
from mlflow import MlflowClient
from mlflow.data import from_pandas
from mlflow.data.filesystem_dataset_source import FileSystemDatasetSource
from mlflow.entities import DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from srlm_kedro.display.safe_text import visible

SAMPLE = 40
"""Judged responses that are kept for reading with a run."""
_FILE = "judged_responses.json"


class CatalogSource(FileSystemDatasetSource):
    """A table of the catalog, by its name."""

    def __init__(self, name: str) -> None:
        """`name` is the dataset's name, `m2.pairs`."""
        self._name = name

    @property
    def uri(self) -> str:
        """The name, as an address."""
        return f"kedro:{self._name}"

    @staticmethod
    def _get_source_type() -> str:
        return "kedro"

    def load(self, dst_path: str | None = None) -> str:
        """The address: the table itself is loaded through Kedro."""
        return self.uri

    @staticmethod
    def _can_resolve(raw_source: object) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: object) -> "CatalogSource":
        raise TypeError(f"{raw_source!r}: tables are loaded through Kedro, not by MLflow.")

    def to_dict(self) -> dict[str, str]:
        """What MLflow keeps of it."""
        return {"uri": self.uri}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "CatalogSource":
        """The source again."""
        return cls(source_dict["uri"].removeprefix("kedro:"))


def log_training_input(client: MlflowClient, run: str, name: str, table: pd.DataFrame) -> None:
    """Notes that the run was trained on `table`: its name, digest, columns and size."""
    # MLflow's own digest looks at the first rows alone.
    rows = pd.util.hash_pandas_object(table, index=False)
    digest = hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]
    dataset = from_pandas(table, source=CatalogSource(name), name=name, digest=digest)
    tags = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(run, [DatasetInput(dataset._to_mlflow_entity(), tags)])


def log_sample(
    client: MlflowClient, run: str, judged: pd.DataFrame, judgements: pd.DataFrame
) -> None:
    """Keeps the first judged responses, each with its first judgement, as text to read."""
    columns = ["prompt", "response", "reward", "scores", "tokens", "response_id"]
    sample = judged.head(SAMPLE)[[name for name in columns if name in judged.columns]].copy()
    first = judgements.drop_duplicates("response_id").set_index("response_id")["text"]
    sample.insert(2, "judgement", sample["response_id"].map(first))
    for name in ("prompt", "response", "judgement"):
        sample[name] = sample[name].map(visible, na_action="ignore")
    # MLflow's own `log_table` would append to what a killed run left there.
    client.log_text(run, sample.to_json(orient="split", index=False), _FILE)
    shown = json.dumps([{"path": _FILE, "type": "table"}])
    client.set_tag(run, MLFLOW_LOGGED_ARTIFACTS, shown)
