"""Completions and log-probabilities on disk, shard by shard: interrupted work goes on."""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation import watching
from srlm_kedro.engines.generation.base import (
    Choices,
    Completion,
    GenerationEngine,
    Request,
    Sampling,
    folder_state,
)
from srlm_kedro.engines.generation.replicas.replicas import Replicas
from srlm_kedro.engines.generation.shard_calls import ShardCall, shards_of
from srlm_kedro.freshness.digests import json_digest, write_atomically
from srlm_kedro.params import Count
from srlm_kedro.records import Checkpoint

_VERSION = 2
"""Raised when another part of a completion is kept."""
_log = logging.getLogger(__name__)


class ShardedEngine:
    """Asks another engine for one shard of the requests at a time, and keeps each shard on disk.

    The engine samples, or reads, each shard separately. So a shard is the same whether others were
    made before it in this run, in an earlier run, or not yet.
    """

    def __init__(
        self,
        engine: GenerationEngine,
        recipe: Any,
        folder: Path | str,
        completions: Count | None = None,
        replicas: Replicas | None = None,
    ):
        """Sets what is kept and where.

        Args:
            engine: The engine that samples.
            recipe: Everything about the engine that can change a result.
            folder: Shards are kept here until `forget`. It is made for the first one.
            completions: About how many a shard holds: the most that a kill can lose, on each
                replica. Default: 4096; 512 with replicas, so that all are busy to the end.
            replicas: Draw the shards in place of the engine.
        """
        self._engine, self._recipe = engine, recipe
        self._folder, self._replicas = Path(folder), replicas
        self._completions = completions or (512 if replicas else 4096)
        self._thread = threading.local()

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request. Raises what the engine raises."""
        asked = {"sampling": sampling.model_dump(), "seed": seed}
        return self._rows(
            ShardCall("generate", model, (sampling, seed), sampling.n),
            self._task(model, asked),
            requests,
            Progress(model.name, len(requests) * sampling.n),
            _COMPLETIONS,
        )

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """The log-probability of each choice, one row per request. Raises what the engine raises.

        A value from disk has the bits that the engine returned.
        """
        return self._rows(
            ShardCall("choice_logprobs", model, (choices,), len(choices)),
            self._task(model, {"choices": choices}),
            requests,
            Progress(model.name, len(requests), "answers"),
            _NUMBERS,
        )

    def _rows(
        self,
        call: ShardCall,
        task: Mapping[str, Any],
        requests: Sequence[Request],
        progress: Progress,
        form: "_Form",
    ) -> list[Any]:
        """Rows from disk, and by the call those of shards that are not there."""
        name, n = call.model.name, call.width if form is _COMPLETIONS else 1
        shards = shards_of(requests, self._completions, n)
        files = [self._file(task, shard) for shard in shards]
        kept = [_read(file, form) for file in files]
        if found := sum(rows is not None for rows in kept):
            _log.info("%s: %d of %d shards are on disk already.", name, found, len(shards))
        with progress:
            done = sum(len(held) for held in kept if held is not None) * n
            progress.skip(done)
            for shard, held in zip(shards, kept, strict=True):
                if held is not None and form is _COMPLETIONS:
                    _tell(shard, held)
            missing = [place for place, held in enumerate(kept) if held is None]
            for number, rows in self._drawn([shards[place] for place in missing], call):
                place = missing[number]
                _write(files[place], rows, form)
                kept[place] = rows
                done += len(rows) * n
                progress.reach(done)
        return [row for rows in kept for row in rows or ()]

    def _drawn(
        self, shards: Sequence[Sequence[Request]], call: ShardCall
    ) -> Iterator[tuple[int, list[Any]]]:
        """The place and the rows of each shard; replicas draw them in any order."""
        if self._replicas is not None:
            for place, rows in self._replicas.in_any_order(shards, call):
                if call.method == "generate":
                    _tell(shards[place], rows)
                yield place, rows
            return
        for place, shard in enumerate(shards):
            yield place, call(self._engine, shard)

    def _task(self, model: Checkpoint, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Everything except the requests on which rows depend."""
        return {
            "version": _VERSION,
            "engine": self._recipe,
            "model": [str(model.path), folder_state(model.path)],
            **asked,
        }

    def refuse_unready(self) -> None:
        """Raises InputError if no cluster, or no server, is there for the work."""
        if self._replicas is not None:
            self._replicas.refuse_unready()
        elif hasattr(self._engine, "refuse_unready"):
            self._engine.refuse_unready()

    def refuse_unfit(self, model: Checkpoint) -> None:
        """Raises InputError if the engine knows that it cannot sample from the model."""
        if hasattr(self._engine, "refuse_unfit"):
            self._engine.refuse_unfit(model)

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """The engine's own answer."""
        return self._engine.length_faults(model, requests, sampling)

    def release(self) -> None:
        """Frees what the engine and its replicas hold between calls."""
        self._engine.release()
        if self._replicas is not None:
            self._replicas.release()

    def forget(self) -> None:
        """Deletes the shards that this thread has asked for: what was made of them is saved.

        Another thread may run another node with the same engine.
        """
        files = self._files_of_this_thread()
        while files:
            files.pop().unlink(missing_ok=True)

    def _files_of_this_thread(self) -> list[Path]:
        return vars(self._thread).setdefault("files", [])

    def _file(self, task: Mapping[str, Any], shard: Sequence[Request]) -> Path:
        requests = [vars(request) for request in shard]
        name = json_digest({**task, "requests": requests}, str)
        file = self._folder / f"{name}.json"
        self._files_of_this_thread().append(file)
        return file


@dataclass(frozen=True)
class _Form:
    """How a value of a row is written as JSON, and read back."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


_COMPLETIONS = _Form(lambda each: list(vars(each).values()), lambda parts: Completion(*parts))
_NUMBERS = _Form(float, float)
"""JSON as Python writes it holds the shortest digits that give the same bits, NaN and infinity."""


def _tell(shard: Sequence[Request], held: Sequence[Sequence[Completion]]) -> None:
    """Tells who watches of completions that were drawn in an earlier run."""
    for place, row in enumerate(held):
        watching.end_all(shard, {(place, sample): one for sample, one in enumerate(row)})


def _read(file: Path, form: _Form) -> list[list[Any]] | None:
    """The rows of a shard; None if it is not there, or if its bytes are not those written."""
    try:
        checksum, _, text = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    if checksum.decode(errors="replace") != _checksum(text):
        return None
    return [[form.read(each) for each in row] for row in json.loads(text)]


def _write(file: Path, rows: Sequence[Sequence[Any]], form: _Form) -> None:
    """Writes a shard so that its file is complete or absent."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = [[form.write(each) for each in row] for row in rows]
    text = json.dumps(content).encode()
    write_atomically(file, _checksum(text).encode() + b"\n" + text)


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
