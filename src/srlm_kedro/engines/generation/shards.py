"""Completions and log-probabilities on disk, shard by shard: interrupted work goes on."""

import hashlib
import json
import logging
import operator
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
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
from srlm_kedro.errors import GateError
from srlm_kedro.freshness.digests import json_digest, write_atomically
from srlm_kedro.params import Count
from srlm_kedro.parts import Made
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
    ) -> Sequence[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request, read from disk when asked for.

        Raises what the engine raises.
        """
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
    ) -> Sequence[list[float]]:
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
    ) -> Sequence[Any]:
        """Rows on disk; those of shards that are not there are drawn by the call first."""
        if not requests:
            return []
        name, n = call.model.name, call.width if form is _COMPLETIONS else 1
        shards = shards_of(requests, self._completions, n)
        files, sizes = zip(*((self._file(task, one), len(one)) for one in shards), strict=True)
        missing = [place for place, file in enumerate(files) if _content(file) is None]
        if found := len(files) - len(missing):
            _log.info("%s: %d of %d shards are on disk already.", name, found, len(shards))
        rows = _RowsOnDisk(files, sizes, form)
        with progress:
            done = n * (len(rows) - sum(sizes[place] for place in missing))
            progress.skip(done)
            if form is _COMPLETIONS and watching.current():
                for place in sorted({*range(len(files))} - {*missing}):
                    _tell(shards[place], rows.shard(place))
            wanted = Made(len(missing), lambda number: shards[missing[number]])
            for number, drawn in self._drawn(wanted, call):
                _write(files[missing[number]], drawn, form)
                done += len(drawn) * n
                progress.reach(done)
        return rows

    def _drawn(
        self, shards: Sequence[Sequence[Request]], call: ShardCall
    ) -> Iterator[tuple[int, list[Any]]]:
        """The place and the rows of each shard; replicas draw them in any order."""
        if self._replicas is not None:
            for place, rows in self._replicas.in_any_order(shards, call):
                if call.method == "generate" and watching.current():
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


class _RowsOnDisk(Sequence[list[Any]]):
    """The rows of shards; the shard that was read last is held in memory."""

    def __init__(self, files: Sequence[Path], sizes: Sequence[int], form: _Form):
        self._files, self._form = files, form
        self._ends = list(accumulate(sizes))
        self._held: tuple[int, list[list[Any]]] = -1, []

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: Any) -> Any:
        found = range(len(self))[place]
        if not isinstance(found, int):
            return [self[one] for one in found]
        number = bisect_right(self._ends, found)
        return self.shard(number)[found - (self._ends[number - 1] if number else 0)]

    def __iter__(self) -> Iterator[list[Any]]:
        for number in range(len(self._files)):
            yield from self.shard(number)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None

    def shard(self, number: int) -> list[list[Any]]:
        """The rows of a shard.

        Raises:
            GateError: Its file is gone, or not as it was written.
        """
        if self._held[0] != number:
            if (text := _content(self._files[number])) is None:
                raise GateError(
                    f"{self._files[number]}: is gone or damaged since it was written. Run the same "
                    "command again: it draws what is missing."
                )
            read = self._form.read
            self._held = number, [[read(each) for each in row] for row in json.loads(text)]
        return self._held[1]


def _content(file: Path) -> bytes | None:
    """What was written of a shard; None if it is not there, or if its bytes are not those."""
    try:
        checksum, _, text = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    return text if checksum.decode(errors="replace") == _checksum(text) else None


def _write(file: Path, rows: Sequence[Sequence[Any]], form: _Form) -> None:
    """Writes a shard so that its file is complete or absent."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = [[form.write(each) for each in row] for row in rows]
    text = json.dumps(content).encode()
    write_atomically(file, _checksum(text).encode() + b"\n" + text)


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
