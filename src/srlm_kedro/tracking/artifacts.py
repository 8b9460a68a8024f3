"""What a model's MLflow run shows: its pairs as input, sampled responses, a reward histogram."""

import hashlib
import json
from collections.abc import Mapping
from html import escape

import pandas as pd
from mlflow import MlflowClient
from mlflow.data import from_pandas
from mlflow.data.filesystem_dataset_source import FileSystemDatasetSource
from mlflow.entities import DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from srlm_kedro.display.safe_text import escaped

SAMPLE = 40
"""How many judged responses a run keeps to read."""
_SAMPLE_FILE = "judged_responses.json"
_WIDTH, _HEIGHT, _MARGIN = 560, 280, 40
"""Of a bar chart, in pixels."""


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
        """Returns the address: Kedro loads the table itself."""
        return self.uri

    @staticmethod
    def _can_resolve(raw_source: object) -> bool:
        return False

    @classmethod
    def _resolve(cls, raw_source: object) -> "CatalogSource":
        raise TypeError(f"{raw_source!r}: Kedro loads tables, MLflow does not.")

    def to_dict(self) -> dict[str, str]:
        """What MLflow stores of the source."""
        return {"uri": self.uri}

    @classmethod
    def from_dict(cls, source_dict: dict[str, str]) -> "CatalogSource":
        """The source, from what MLflow stored."""
        return cls(source_dict["uri"].removeprefix("kedro:"))


def log_training_input(client: MlflowClient, run: str, name: str, table: pd.DataFrame) -> None:
    """Records that the run was trained on `table`: its name, digest, columns and size."""
    # MLflow's own digest reads only the first rows.
    rows = pd.util.hash_pandas_object(table, index=False)
    digest = hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]
    dataset = from_pandas(table, source=CatalogSource(name), name=name, digest=digest)
    tags = [InputTag("mlflow.data.context", "training")]
    client.log_inputs(run, [DatasetInput(dataset._to_mlflow_entity(), tags)])


def log_sample(
    client: MlflowClient, run: str, judged: pd.DataFrame, judgements: pd.DataFrame
) -> None:
    """Keeps the first judged responses, each with its first judgement, as a table to read."""
    columns = ["prompt", "response", "reward", "scores", "tokens", "response_id"]
    sample = judged.head(SAMPLE)[[name for name in columns if name in judged.columns]].copy()
    first = judgements.drop_duplicates("response_id").set_index("response_id")["text"]
    sample.insert(2, "judgement", sample["response_id"].map(first))
    for name in ("prompt", "response", "judgement"):
        sample[name] = sample[name].map(escaped, na_action="ignore")
    # MLflow's own `log_table` would append to the table that a killed run left there.
    client.log_text(run, sample.to_json(orient="split", index=False), _SAMPLE_FILE)
    listed = json.dumps([{"path": _SAMPLE_FILE, "type": "table"}])
    client.set_tag(run, MLFLOW_LOGGED_ARTIFACTS, listed)


def reward_histogram(rewards: pd.Series, title: str, top: float = 5) -> str:
    """How the rewards are distributed, in half points, as SVG text.

    Responses without a reward have a bar of their own.
    """
    steps = [i / 2 for i in range(int(2 * top) + 1)]
    nearest = (rewards.dropna() * 2).round().clip(0, 2 * top) / 2
    counts = {f"{step:g}": int((nearest == step).sum()) for step in steps}
    return bar_chart({**counts, "none": int(rewards.isna().sum())}, title, "reward")


def bar_chart(counts: Mapping[str, int], title: str, label: str) -> str:
    """A bar chart of counts as SVG text, which MLflow shows without a script."""
    highest = max([*counts.values(), 1])
    slot = (_WIDTH - 2 * _MARGIN) / len(counts)
    room = _HEIGHT - 2 * _MARGIN - 16
    parts = [_text(_WIDTH / 2, 22, title, 15), _text(_WIDTH / 2, _HEIGHT - 6, label, 12)]
    for i, (name, count) in enumerate(counts.items()):
        height = room * count / highest
        left, top = _MARGIN + i * slot, _HEIGHT - _MARGIN - height
        parts.append(
            f'<rect x="{left + slot * 0.1:.1f}" y="{top:.1f}" width="{slot * 0.8:.1f}" '
            f'height="{height:.1f}" fill="#3b6fb6"/>'
        )
        parts.append(_text(left + slot / 2, _HEIGHT - _MARGIN + 15, name, 11))
        parts.append(_text(left + slot / 2, top - 4, str(count), 11))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _text(x: float, y: float, text: str, size: int) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="middle" '
        f'fill="#1c2733">{escape(escaped(text))}</text>'
    )
