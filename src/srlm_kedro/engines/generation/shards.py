"""Completions on disk shard by shard: a drawing that was broken off goes on where it was."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.generation.base import Completion, GenerationEngine, Request, Sampling
from srlm_kedro.engines.generation.journal import weights_mark
from srlm_kedro.engines.per_thread import Own
from srlm_kedro.freshness.files import json_digest, write_whole
from srlm_kedro.params import Count
from srlm_kedro.records import Checkpoint

_VERSION = 2
"""Bumped when what is kept of a completion changes."""
_log = logging.getLogger(__name__)


class ShardedEngine:
    """Another engine, asked for one shard of the requests at a time; each is kept once drawn.

    A shard is drawn alone, so it comes out the same whether others were drawn before it in this
    run, in an earlier one, or are still to be drawn.
    """

    def __init__(
        self,
        engine: GenerationEngine,
        recipe: Any,
        folder: Path,
        completions: Count = 4096,
    ):
        """Keeps shards in a folder.

        Args:
            engine: Who draws.
            recipe: What of the engine can change a result.
            folder: Where shards lie until `forget`; made when the first one is kept.
            completions: Of a shard, about: the most that a kill can cost.
        """
        self._engine, self._recipe = engine, recipe
        self._folder, self._completions = folder, completions
        self._asked = Own()

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row a request. Raises what the engine raises."""
        asked = {
            "version": _VERSION,
            "engine": self._recipe,
            "model": [str(model.path), weights_mark(model.path)],
            "sampling": sampling.model_dump(),
            "seed": seed,
        }
        shards = list(self._shards(requests, sampling.n))
        files = [self._file(asked, shard) for shard in shards]
        kept = [_read(file) for file in files]
        if known := sum(rows is not None for rows in kept):
            _log.info("%s: %d of %d shards are drawn already.", model.name, known, len(shards))
        rows: list[list[Completion]] = []
        with Progress(model.name, len(requests) * sampling.n) as progress:
            progress.skip(sum(len(held) for held in kept if held is not None) * sampling.n)
            for shard, file, held in zip(shards, files, kept, strict=True):
                if held is None:
                    start = progress.done
                    held = self._engine.generate(model, shard, sampling, seed)
                    _write(file, held)
                    progress.reach(start + len(shard) * sampling.n)
                rows += held
        return rows

    def refuse_unready(self) -> None:
        """Raises InputError where the engine knows that nobody can be asked."""
        if hasattr(self._engine, "refuse_unready"):
            self._engine.refuse_unready()

    def refuse_unfit(self, model: Checkpoint) -> None:
        """Raises InputError where the engine knows that it cannot draw from the model."""
        if hasattr(self._engine, "refuse_unfit"):
            self._engine.refuse_unfit(model)

    def misfits(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """What the engine says."""
        return self._engine.misfits(model, requests, sampling)

    def release(self) -> None:
        """Gives back what the engine holds between calls."""
        self._engine.release()

    def forget(self) -> None:
        """Deletes the shards that this thread has asked for: what was made of them is saved."""
        while self._asked.held:
            self._asked.held.pop().unlink(missing_ok=True)

    def _shards(self, requests: Sequence[Request], n: int) -> Iterator[Sequence[Request]]:
        size = max(1, self._completions // n)
        return (requests[start : start + size] for start in range(0, len(requests), size))

    def _file(self, asked: Mapping[str, Any], shard: Sequence[Request]) -> Path:
        requests = [vars(request) for request in shard]
        name = json_digest({**asked, "requests": requests}, str)
        file = self._folder / f"{name}.json"
        self._asked.held.append(file)
        return file


def _read(file: Path) -> list[list[Completion]] | None:
    """The rows of a shard; None if it was not drawn, or its bytes are not those written."""
    try:
        checksum, _, text = file.read_bytes().partition(b"\n")
    except OSError:
        return None
    if checksum.decode(errors="replace") != _checksum(text):
        return None
    return [[Completion(*each) for each in row] for row in json.loads(text)]


def _write(file: Path, rows: Sequence[Sequence[Completion]]) -> None:
    """Puts a shard in its place, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    drawn = [[list(vars(each).values()) for each in row] for row in rows]
    text = json.dumps(drawn).encode()
    write_whole(file, _checksum(text).encode() + b"\n" + text)


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
