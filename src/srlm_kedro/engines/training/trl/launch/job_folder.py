"""The folder by which the engine and the ranks of a training speak to each other.

The engine writes what is asked for. The ranks write how far they are, why they stopped, and what
they have made. All files appear as a whole.
"""

import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, load_from_disk

from srlm_kedro.engines.guarded import marked
from srlm_kedro.engines.training.base import Trained
from srlm_kedro.engines.training.params import DpoParams, SftParams
from srlm_kedro.engines.training.trl.job import Job, Prepared
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.freshness.digests import write_atomically
from srlm_kedro.records import Checkpoint

_ASKED, _PROGRESS, _RESULT = "asked.json", "progress.json", "result.json"
_ROWS, _ERRORS, _SAID = "rows", "errors", "said.log"
_PACKAGE = __name__.partition(".")[0]
_PARAMS = {"sft": SftParams, "dpo": DpoParams}
_REFUSALS: dict[str, type[Exception]] = {"InputError": InputError, "GateError": GateError}


@dataclass(frozen=True)
class Asked:
    """One training by many ranks."""

    kind: Literal["sft", "dpo"]
    job: Job
    reference: Checkpoint | None
    prepared: Prepared
    options: Mapping[str, Any]
    """Values of `TrainingOptions` that are plain."""
    threads: int | None
    copies: int
    states: Path | None
    """Where states are kept, see `UnfinishedTraining`."""
    seconds: float


@dataclass(frozen=True)
class JobFolder:
    """A folder on a disk that all ranks see."""

    path: Path

    def write(self, asked: Asked) -> None:
        """Writes what is asked for."""
        self.output.touch()
        prepared = asked.prepared
        Dataset.from_list(prepared.rows).save_to_disk(str(self.path / _ROWS))
        job = {**vars(asked.job), "model": _plain(asked.job.model)}
        job["params"] = asked.job.params.model_dump(mode="json")
        value = {
            **vars(asked),
            "job": job,
            "reference": asked.reference and _plain(asked.reference),
            "prepared": {"order": prepared.order, "too_long": prepared.too_long},
            "states": asked.states and str(asked.states.resolve()),
        }
        self._put(_ASKED, value)

    def asked(self) -> Asked:
        """What was written."""
        value = self._get(_ASKED)
        job, rows = value["job"], load_from_disk(str(self.path / _ROWS)).to_list()
        job["params"] = _PARAMS[value["kind"]](**job["params"])
        job["model"] = _checkpoint(job["model"])
        return Asked(
            **value
            | {
                "job": Job(**job),
                "reference": value["reference"] and _checkpoint(value["reference"]),
                "prepared": Prepared(rows=rows, **value["prepared"]),
                "states": value["states"] and Path(value["states"]),
            }
        )

    def report(self, step: float, steps: int, loss: float) -> None:
        """Says how far the training is; a full disk must not stop it."""
        with suppress(OSError):
            self._put(_PROGRESS, [step, steps, loss])

    def progress(self) -> tuple[float, int, float] | None:
        """What was reported last."""
        found = self._get(_PROGRESS)
        return found and tuple(found)

    def finish(self, trained: Trained) -> None:
        """Says what was made."""
        self._put(_RESULT, {"model": _plain(trained.checkpoint), "log": trained.log})

    def trained(self, too_long: int) -> Trained | None:
        """What was made; None if the training has not ended."""
        found = self._get(_RESULT)
        return found and Trained(_checkpoint(found["model"]), found["log"], too_long)

    def fail(self, rank: int, error: BaseException) -> None:
        """Says why a rank stopped."""
        (self.path / _ERRORS).mkdir(exist_ok=True)
        kind = next((name for name, one in _REFUSALS.items() if isinstance(error, one)), "")
        text = str(error) if kind else f"{type(error).__name__}: {error}"
        self._put(f"{_ERRORS}/{rank}.json", {"kind": kind, "text": text, "time": time.time()})

    def refusal(self) -> Exception | None:
        """The first refusal of a rank; None if no rank refused to go on."""
        said = sorted(self._said(), key=lambda one: one["time"])
        return next((_REFUSALS[one["kind"]](one["text"]) for one in said if one["kind"]), None)

    def errors(self) -> list[str]:
        """What the ranks say, the first one first: the others lose their connection to it."""
        return [one["text"] for one in sorted(self._said(), key=lambda one: one["time"])]

    def begin(self) -> None:
        """Forgets how far an earlier attempt came, and what it left."""
        for file in (self.path / _PROGRESS, self.path / _SAID, *self._errors()):
            file.unlink(missing_ok=True)
        for model in self.path.glob("model-*"):
            shutil.rmtree(model)

    def tell(self) -> None:
        """Writes what this process logs, for the engine to log it too."""
        handler = logging.FileHandler(self.path / _SAID, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        logger = logging.getLogger(_PACKAGE)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)

    def said(self, known: int) -> list[str]:
        """The lines that were logged, each with its level, without so many at the beginning."""
        file = self.path / _SAID
        return file.read_text("utf-8").splitlines()[known:] if file.exists() else []

    @property
    def output(self) -> Path:
        """What the ranks print."""
        return self.path / "ranks.log"

    def last_lines(self) -> str:
        """The end of what the ranks printed, marked for a message."""
        return marked(self.output.read_bytes()[-20_000:])

    def _said(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text("utf-8")) for file in self._errors()]

    def _errors(self) -> list[Path]:
        return sorted((self.path / _ERRORS).glob("[0-9]*.json"))

    def _put(self, name: str, value: Any) -> None:
        write_atomically(self.path / name, json.dumps(value).encode())

    def _get(self, name: str) -> Any:
        file = self.path / name
        return json.loads(file.read_text("utf-8")) if file.exists() else None


def _plain(checkpoint: Checkpoint) -> dict[str, str]:
    return {"path": str(checkpoint.path.resolve()), "name": checkpoint.name}


def _checkpoint(plain: Mapping[str, str]) -> Checkpoint:
    return Checkpoint(Path(plain["path"]), plain["name"])


def options_of(setup: Any) -> dict[str, Any]:
    """The plain values of `TrainingOptions`, for `Asked`."""
    shallow = {field.name: getattr(setup, field.name) for field in dataclasses.fields(setup)}
    return {name: value for name, value in shallow.items() if name not in ("work_dir", "ranks")}
