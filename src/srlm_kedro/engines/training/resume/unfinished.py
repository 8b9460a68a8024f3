"""The kept states of unfinished trainings, so that a kill costs at most one interval."""

import importlib.metadata
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from srlm_kedro import __version__
from srlm_kedro.engines.training.ranks import Ranks
from srlm_kedro.engines.training.resume.shards import Parts, begin, complete, write_parts
from srlm_kedro.engines.training.resume.snapshots import SCRATCH, DamagedError
from srlm_kedro.engines.weights import base_of, is_adapter
from srlm_kedro.freshness.digests import json_digest
from srlm_kedro.freshness.manifest import file_digests
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)
_WAIT = 33
"""The least time between two writes, in durations of the last write: they take at most 3%."""
_STEP, _REFERENCE = "step-", "reference"
_LIBRARIES = ("torch", "transformers", "trl", "peft")
"""The libraries that decide the bits of a training. Another version starts from the beginning."""


class UnfinishedTraining:
    """The kept states of one training, in a folder. The newest undamaged state counts.

    The folder holds `step-N`, the whole state after N steps. For DPO it also holds `reference`. In
    each, every rank keeps its part, and nothing counts before all parts are written.
    """

    def __init__(
        self,
        label: str,
        folder: Path | None = None,
        seconds: float = 0.0,
        ranks: Ranks | None = None,
    ):
        """Writes nothing yet.

        Args:
            label: What is trained, for messages: `DPO of m1`.
            folder: The training's own folder; None keeps nothing.
            seconds: The least time between two states; 0 keeps the state after every step.
            ranks: The processes that train the model; None: this one alone.
        """
        self._label = label
        self.folder = folder
        self._ranks = ranks or Ranks()
        self.seconds = seconds
        self._cost = 0.0
        self._since = time.monotonic()

    def newest(self) -> Parts | None:
        """The state to go on from. Half-written and damaged states are logged and skipped.

        It holds a part `reached`: `{"step": ..., "steps": ...}`.
        """
        self._clear_half_written()
        for folder in self._ranks.same(lambda: sorted(self._kept(), key=_number, reverse=True)):
            if found := self._read(folder):
                reached = found["reached"]
                line = "%s: goes on at step %d of %d."
                _log.info(line, self._label, reached["step"], reached["steps"])
                return found
        return None

    def due(self) -> bool:
        """Whether it is time to keep a state."""
        if self.folder is None:
            return False
        return self._ranks.same(self._is_time)

    def _is_time(self) -> bool:
        wait = max(self.seconds, _WAIT * self._cost) if self.seconds else 0
        return time.monotonic() - self._since >= wait

    def keep(self, step: int, steps: int, parts: Mapping[str, Any]) -> None:
        """Writes the state after `step` of `steps`, and then deletes the older states."""
        began = time.monotonic()
        reached = {"step": step, "steps": steps}
        written = self._write(f"{_STEP}{step}", {**parts, "reached": reached})
        if written and self._ranks.first:
            for other in self._kept():
                if _number(other) != step:
                    shutil.rmtree(other, ignore_errors=True)
        self._since = time.monotonic()
        self._cost = self._since - began

    def reference(self) -> Parts | None:
        """The kept values of the reference, if it has read the pairs before."""
        folder = self.folder and self.folder / _REFERENCE
        return self._read(folder) if folder and self._ranks.same(folder.is_dir) else None

    def keep_reference(self, parts: Mapping[str, Any]) -> None:
        """Writes the reference's values at once: they are small, and cost a pass over all pairs."""
        self._write(_REFERENCE, parts)

    def forget(self) -> None:
        """Deletes all kept states."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _kept(self) -> list[Path]:
        return list(self.folder.glob(f"{_STEP}*")) if self.folder else []

    def _write(self, name: str, parts: Mapping[str, Any]) -> bool:
        """Whether the state was written. A full disk must not stop the training."""
        if self.folder is None:
            return False
        ranks, folder, written = self._ranks, self.folder / name, False
        ranks.same(begin, folder)
        try:
            written = ranks.all_agree(self._write_parts(folder, parts)) and ranks.same(
                self._complete, folder
            )
        finally:
            if ranks.first and not written:
                shutil.rmtree(folder, ignore_errors=True)
        return written

    def _write_parts(self, folder: Path, parts: Mapping[str, Any]) -> bool:
        return self._kept_on_disk(folder, lambda: write_parts(folder, parts, self._ranks))

    def _complete(self, folder: Path) -> bool:
        return self._kept_on_disk(folder, lambda: complete(folder, self._ranks))

    def _kept_on_disk(self, folder: Path, write: Callable[[], None]) -> bool:
        try:
            write()
        except (OSError, SafetensorError) as error:
            line = "%s: %s could not be kept, and training goes on without it: %s"
            _log.warning(line, self._label, folder, error)
            return False
        return True

    def _read(self, folder: Path) -> Parts | None:
        """The state in a folder, if all ranks find it undamaged."""
        found = None
        try:
            found = Parts(folder, self._ranks)
        except DamagedError as error:
            _log.warning("%s: %s is damaged and is skipped: %s", self._label, folder, error)
        return found if self._ranks.all_agree(found is not None) else None

    def _clear_half_written(self) -> None:
        if self.folder:
            self._ranks.same(self._clear, self.folder)

    def _clear(self, kept: Path) -> None:
        for folder in (*kept.glob(f"{SCRATCH}*"), *kept.glob(f"*/{SCRATCH}*")):
            _log.warning("%s: %s was never finished and is skipped.", self._label, folder)
            shutil.rmtree(folder, ignore_errors=True)


class StateStore:
    """The unfinished trainings of one folder. All that decides a training's bits identifies it."""

    def __init__(self, folder: Path | None, seconds: float):
        """`folder` None keeps nothing; `seconds` as in `UnfinishedTraining`."""
        self._folder = folder
        self._seconds = seconds
        self._thread = threading.local()

    @contextmanager
    def training(self, label: str, **identity: Any) -> Iterator[UnfinishedTraining]:
        """The kept state of one training. After the training ends, `forget` deletes it.

        Args:
            label: What is trained.
            identity: All that decides the training's bits, as JSON's types and `Checkpoint`s. A
                checkpoint counts by the content of its files.
        """
        if self._folder is None:
            yield UnfinishedTraining(label)
            return
        unfinished = UnfinishedTraining(label, self._folder / digest(**identity), self._seconds)
        yield unfinished
        self._finished_by_this_thread().append(unfinished)

    def forget(self) -> None:
        """Deletes the kept states of the trainings that this thread has finished."""
        finished = self._finished_by_this_thread()
        while finished:
            finished.pop().forget()

    def _finished_by_this_thread(self) -> list[UnfinishedTraining]:
        return vars(self._thread).setdefault("finished", [])


def digest(**identity: Any) -> str:
    """A name that depends on the given values and on the versions of this package and libraries.

    A model counts by the SHA-256 of its files, not by their times. Times change when a folder is
    copied to another machine, where the training may go on.
    """
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    parts = {**identity, "libraries": versions, "version": __version__}
    return json_digest(parts, _content)[:32]


def _content(model: Checkpoint) -> dict[str, Any]:
    """The digests of a model's files without its cards, and those of an adapter's base."""
    return {
        "files": file_digests(model.path),
        "base": _content(base_of(model)) if is_adapter(model) else None,
    }


def _number(folder: Path) -> int:
    digits = folder.name.removeprefix(_STEP)
    return int(digits) if digits.isdecimal() else -1
