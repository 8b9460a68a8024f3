"""The training engine for tests and dry runs: the same protocol without torch, in milliseconds."""

import hashlib
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srlm_kedro.engines.training.base import Document, Trained
from srlm_kedro.engines.training.params import DpoParams, PretrainParams, SftParams, TuningParams
from srlm_kedro.params import Params
from srlm_kedro.records import Checkpoint, Example, Preference

_LOGGED = 5
_DPO_GOALS = {
    "rewards/accuracies": (0.5, 0.9),
    "rewards/margins": (0.0, 0.8),
    "rewards/chosen": (0.0, 0.3),
    "rewards/rejected": (0.0, -0.5),
    "logps/chosen": (-20.0, -18.0),
    "logps/rejected": (-20.0, -25.0),
    "log_ratio": (0.0, 0.1),
}


class ScriptedTrainer:
    """Writes a small record instead of weights. The same call writes the same bytes."""

    def __init__(self, work_dir: str | None = None):
        """`work_dir` holds the scratch folders (default: the system's)."""
        self._work_dir = work_dir

    def pretrain(self, documents: Sequence[Document], params: PretrainParams, seed: int) -> Trained:
        """A record of a model trained from scratch."""
        return self._train("pretrain", [], documents, params, seed)

    def sft(
        self, model: Checkpoint, examples: Sequence[Example], params: SftParams, seed: int
    ) -> Trained:
        """A record of `model` fine-tuned on `examples`."""
        return self._train("sft", [model], examples, params, seed)

    def dpo(
        self,
        policy: Checkpoint,
        reference: Checkpoint,
        pairs: Sequence[Preference],
        params: DpoParams,
        seed: int,
    ) -> Trained:
        """A record of `policy` trained on the pairs."""
        trained = self._train("dpo", [policy, reference], pairs, params, seed)
        return Trained(trained.checkpoint, [{**row, **_dpo_values(row)} for row in trained.log])

    def length_faults(
        self, model: Checkpoint, examples: Sequence[Example], params: TuningParams
    ) -> list[str]:
        """Why each example is too long, in words; empty if it fits."""
        lengths = [len(f"{one.prompt} {one.completion} end".split()) for one in examples]
        return [
            f"{found} tokens > max_length = {params.max_length}"
            if found > params.max_length
            else ""
            for found in lengths
        ]

    def log_probs(self, model: Checkpoint, examples: Sequence[Example]) -> list[float]:
        """Minus one to three nats per word; model and example decide how many."""
        known = _identity(model)
        return [
            -len([*one.completion.split(), *(["end"] if one.complete else [])])
            * random.Random(_digest(known, asdict(one))).uniform(1, 3)
            for one in examples
        ]

    def _train(
        self,
        kind: str,
        parents: Sequence[Checkpoint],
        examples: Sequence[Any],
        params: Params,
        seed: int,
    ) -> Trained:
        recipe = {
            "kind": kind,
            "parents": [_identity(parent) for parent in parents],
            "digest": _digest([asdict(e) for e in examples], params.recipe(engine=True), seed),
        }
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self._work_dir))
        (folder / "model.json").write_text(json.dumps(recipe, indent=1), "utf-8")
        return Trained(Checkpoint(folder, "scratch"), _log(recipe["digest"]))


def _identity(parent: Checkpoint) -> str:
    """The digest of a scripted model, or of the configuration of a given one."""
    files = [parent.path / name for name in ("model.json", "config.json")]
    known = next(file for file in files if file.exists())
    return hashlib.sha256(known.read_bytes()).hexdigest()[:16]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _log(digest: str) -> list[dict[str, float]]:
    chance = random.Random(digest)
    start = chance.uniform(1.5, 3.0)
    return [
        {
            "step": float(step),
            "loss": start / step,
            "learning_rate": 1e-4 * (1 - step / (_LOGGED + 1)),
            "grad_norm": chance.uniform(0.5, 1.5),
        }
        for step in range(1, _LOGGED + 1)
    ]


def _dpo_values(row: dict[str, float]) -> dict[str, float]:
    share = row["step"] / _LOGGED
    return {name: low + share * (high - low) for name, (low, high) in _DPO_GOALS.items()}
