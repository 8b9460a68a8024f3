"""What each dataset of a pipeline run writes into MLflow."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient

from srlm_kedro.parts import Parts
from srlm_kedro.records import Checkpoint
from srlm_kedro.tracking.artifacts import SAMPLE, log_sample, log_training_input, reward_histogram
from srlm_kedro.tracking.flat_parameters import flat_parameters
from srlm_kedro.tracking.registry import (
    drop_weights,
    known_version,
    register_checkpoint,
    tag_version,
)
from srlm_kedro.tracking.run_tree import RunTree, compare_link, iteration_of, origin_of

_log = logging.getLogger(__name__)

Digest = Callable[[Path], str]
"""Gives the digest of a folder's content."""

_MODEL_OF_NAMESPACE = {"eft": "m1", "oasst": "m1", "seed": "m1"}
"""Namespaces that make no model: their datasets belong to M1, which is trained on them."""

_TRAINING = "train/"
_EVALUATION = "eval/"
"""Metrics of this section are written to the parent too, as a curve over iterations."""

_WORSE = "selection/worse"
"""1 for a model that is worse than the one before it."""

_COMPARED = {
    "eval/win_minus_loss_vs_sft": "compare/vs SFT",
    "eval/win_minus_loss_vs_previous": "compare/vs previous",
    "eval/mean_score": "compare/score",
    "eval/pairwise_accuracy": "compare/judge",
    "eval/mean_length": "compare/length",
    "judge/mean_reward": "compare/reward",
    "pairs/count": "compare/pairs",
}
"""Metrics that users look for first, repeated in a section that MLflow sorts to the top."""


class RunRecorder:
    """Writes each dataset that the pipeline saves to the run of the model it belongs to."""

    def __init__(
        self, client: MlflowClient, parent: str, registered_model: str, digest: Digest
    ) -> None:
        """Records below the open run `parent`; `registered_model` names the chain M0, M1, ..."""
        self.tree = RunTree(client, parent, chain=registered_model)
        self._client = client
        self._registered_model = registered_model
        self._digest = digest
        self._samples: dict[str, dict[str, pd.DataFrame]] = {}
        self._summary = ""
        self._curves: dict[str, set[str]] = {}
        """Names of the training metrics that each run has as curves."""

    def describe_parent(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Names the parent run, and writes all parameters, with whole schedules."""
        self.tree.tag(self.tree.parent, {"mlflow.runName": name})
        self.tree.parameters(self.tree.parent, flat_parameters(parameters))

    def describe_child(self, model: str, parameters: Mapping[str, Any]) -> None:
        """Writes all parameters to the model's run, each schedule as the value of its iteration.

        Parameters that this model does not read are written too, so that a comparison of models
        shows what differed. The first one, `chain`, says what the model was made from.
        """
        values = flat_parameters(parameters, iteration_of(model) or 0)
        run = self.tree.child(model)
        self.tree.parameters(run, {"chain": origin_of(model), **values})
        # A killed process may have written curves already.
        names = self.tree.metric_names(run)
        self._curves[model] = {name for name in names if name.startswith(_TRAINING)}

    def saved(self, dataset: str, data: Any) -> None:
        """Records one dataset; its name (`m2.judge_metrics`) names the model and the kind."""
        model, name = split_name(dataset)
        record = self._record_of(name, data)
        if model is None:
            self._report_or_summary(name, data)
        elif record is not None:
            record(model, dataset, data)

    def carried_over(self, dataset: str, data: Any) -> None:
        """Records what an earlier run made; a model is not registered a second time."""
        if isinstance(data, Checkpoint) and split_name(dataset)[1] == "model":
            digest = self._digest(data.path)
            if known_version(self._client, self._registered_model, data, digest) is not None:
                return
        self.saved(dataset, data)

    def thinned(self, model: str, digest: str) -> None:
        """Deletes weights from the registry that were deleted from disk; `digest` names them."""
        place = self._client.get_experiment(self.tree.experiment).artifact_location
        drop_weights(self._client, self._registered_model, model, digest, place)

    def curve(self, dataset: str, data: Mapping[str, float | None]) -> None:
        """Writes a model's `eval/` metrics, and what compares models, to the parent.

        The step is the model's iteration.
        """
        model, _ = split_name(dataset)
        step = None if model is None else iteration_of(model)
        points = {key: value for key, value in data.items() if key.startswith(_EVALUATION)}
        if step is not None:
            self.tree.metrics(self.tree.parent, points | _compared(data), step)

    def finish(self) -> None:
        """Closes the children, and writes the parent's description: a link and the summary."""
        self.tree.end_all("FINISHED")
        newest = self.tree.newest()
        chain = sorted(filter(iteration_of, newest), key=_chain_order)
        link = compare_link(self.tree.experiment, [newest[model] for model in chain])
        names = " ".join(model.upper() for model in chain)
        parts = [f"[Compare {names}]({link})"] * bool(chain)
        parts += [f"```\n{self._summary}\n```"] * bool(self._summary)
        self.tree.tag(self.tree.parent, {"mlflow.note.content": "\n\n".join(parts)})

    def _record_of(self, name: str, data: Any) -> Callable[[str, str, Any], None] | None:
        if name.endswith("_metrics") and isinstance(data, Mapping):
            return self._metrics
        if name.endswith("_validation"):
            return self._validation
        return {
            "model": self._checkpoint,
            "best": self._best,
            "train_log": self._train_log,
            "pairs": self._pairs,
            "judgements": self._judgements,
            "judged_responses": self._judged,
            "data_docs": self._page,
        }.get(name)

    def _report_or_summary(self, name: str, data: Any) -> None:
        """Records the report and its summary, which belong to the parent."""
        parent = self.tree.parent
        if name == "report":
            self._client.log_text(parent, data, "report.html")
        elif name == "summary":
            self._summary = data

    def _metrics(self, model: str, dataset: str, data: Mapping[str, float | None]) -> None:
        # The training log has written some as curves; a last value at step 0 would spoil them.
        new = {k: v for k, v in data.items() if k not in self._curves.get(model, set())}
        run, step = self.tree.child(model), iteration_of(model) or 0
        self.tree.metrics(run, new | _compared(data), step)
        self.curve(dataset, data)
        if _WORSE in data:
            tags = {"srlm.worse": str(bool(data[_WORSE])).lower()}
            self.tree.tag(run, tags)
            tag_version(self._client, self._registered_model, model, tags)

    def _best(self, model: str, dataset: str, data: Checkpoint) -> None:
        self.tree.tag(self.tree.child(model), {"srlm.best": data.path.name})

    def _train_log(self, model: str, dataset: str, data: pd.DataFrame) -> None:
        names = {
            column: f"{_TRAINING}{column.replace('/', '_')}" for column in data if column != "step"
        }
        rows = data.rename(columns=names).to_dict("records")
        self._curves.setdefault(model, set()).update(names.values())
        self.tree.history(self.tree.child(model), rows)

    def _pairs(self, model: str, dataset: str, data: pd.DataFrame) -> None:
        log_training_input(self._client, self.tree.child(model), dataset, data)

    def _judgements(self, model: str, dataset: str, data: Parts | pd.DataFrame) -> None:
        first = next(iter(data)) if isinstance(data, Parts) else data
        self._sample(model, "judgements", first.drop_duplicates("response_id").head(SAMPLE))

    def _judged(self, model: str, dataset: str, data: pd.DataFrame) -> None:
        run = self.tree.child(model)
        self._sample(model, "judged", data.head(SAMPLE))
        figure = reward_histogram(data["reward"], f"{dataset}: {len(data)} responses")
        self._client.log_text(run, figure, "rewards.svg")

    def _sample(self, model: str, part: str, data: pd.DataFrame) -> None:
        """Writes the sample once both tables are there: responses and their judgements."""
        parts = self._samples.setdefault(model, {})
        parts[part] = data
        if len(parts) == 2:
            del self._samples[model]
            log_sample(self._client, self.tree.child(model), **parts)

    def _validation(self, model: str, dataset: str, data: dict[str, Any]) -> None:
        name = split_name(dataset)[1]
        self._client.log_dict(self.tree.child(model), data, f"validation/{name}.json")

    def _page(self, model: str, dataset: str, data: str) -> None:
        self._client.log_text(self.tree.child(model), data, "validation/data_docs.html")

    def _checkpoint(self, model: str, dataset: str, data: Checkpoint) -> None:
        run = self.tree.child(model)
        digest = self._digest(data.path)
        version = register_checkpoint(self._client, run, self._registered_model, data, digest)
        _log.info("MLflow: %s is %s version %s.", dataset, self._registered_model, version)


def _chain_order(model: str) -> int:
    return iteration_of(model) or 0


def _compared(data: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: data[key] for key, name in _COMPARED.items() if key in data}


def split_name(dataset: str) -> tuple[str | None, str]:
    """The model that a dataset belongs to (None: all models), and the dataset's own name."""
    namespace, _, name = dataset.rpartition(".")
    return _MODEL_OF_NAMESPACE.get(namespace, namespace) or None, name
