"""What is kept of trainings that have not ended, so that a kill costs one interval at most."""

import importlib.metadata
import logging
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from srlm_kedro import __version__
from srlm_kedro.engines.training.resume.snapshots import (
    SCRATCH,
    DamagedError,
    Snapshot,
    write,
)
from srlm_kedro.engines.weights import base_of, is_adapter
from srlm_kedro.freshness.digests import json_digest
from srlm_kedro.freshness.manifest import file_digests
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)
_WAIT = 33
"""Times the last write's duration from one write to the next: they take 3% of the time at most."""
_STEP, _REFERENCE = "step-", "reference"
_LIBRARIES = ("torch", "transformers", "trl", "peft")
"""What decides the bits beside a training's own settings; another version starts anew."""


class Unfinished:
    """One training's states in its folder: the newest that is whole counts.

    The folder holds `step-N`, the whole state after N steps, and, of DPO, `reference`.
    """

    def __init__(self, label: str, folder: Path | None = None, seconds: float = 0.0):
        """Nothing is written until there is something to keep.

        Args:
            label: What is trained, for messages: `DPO of m1`.
            folder: Its own; None keeps nothing.
            seconds: Least time from one state to the next; 0 keeps every step's.
        """
        self._label = label
        self._folder = folder
        self._seconds = seconds
        self._cost = 0.0
        self._since = time.monotonic()

    def newest(self) -> Snapshot | None:
        """The state to go on from; half-written and damaged ones are named and passed over.

        It holds a part `reached`: `{"step": ..., "steps": ...}`.
        """
        self._clear_half_written()
        for folder in sorted(self._kept(), key=_number, reverse=True):
            if found := self._read(folder):
                reached = found["reached"]
                line = "%s: goes on at step %d of %d."
                _log.info(line, self._label, reached["step"], reached["steps"])
                return found
        return None

    def due(self) -> bool:
        """Whether it is time to keep a state."""
        if self._folder is None:
            return False
        wait = max(self._seconds, _WAIT * self._cost) if self._seconds else 0
        return time.monotonic() - self._since >= wait

    def keep(self, step: int, steps: int, parts: Mapping[str, Any]) -> None:
        """Writes the state after `step` of `steps`; the older ones go once it stands."""
        began = time.monotonic()
        reached = {"step": step, "steps": steps}
        if self._write(f"{_STEP}{step}", {**parts, "reached": reached}):
            for other in self._kept():
                if _number(other) != step:
                    shutil.rmtree(other, ignore_errors=True)
        self._since = time.monotonic()
        self._cost = self._since - began

    def reference(self) -> Snapshot | None:
        """What the reference said of the pairs, if it has been asked before."""
        folder = self._folder and self._folder / _REFERENCE
        return self._read(folder) if folder and folder.is_dir() else None

    def keep_reference(self, parts: Mapping[str, Any]) -> None:
        """Writes it down at once: it is little, and was a pass over all pairs."""
        self._write(_REFERENCE, parts)

    def forget(self) -> None:
        """Deletes all that was kept."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _kept(self) -> list[Path]:
        return list(self._folder.glob(f"{_STEP}*")) if self._folder else []

    def _write(self, name: str, parts: Mapping[str, Any]) -> bool:
        """Whether it stands: a disk that is full is no reason to stop training."""
        if self._folder is None:
            return False
        try:
            write(self._folder / name, parts)
        except (OSError, SafetensorError) as error:
            line = "%s: %s could not be kept, and training goes on without: %s"
            _log.warning(line, self._label, self._folder / name, error)
            return False
        return True

    def _read(self, folder: Path) -> Snapshot | None:
        try:
            return Snapshot(folder)
        except DamagedError as error:
            _log.warning("%s: %s is damaged and passed over: %s", self._label, folder, error)
            return None

    def _clear_half_written(self) -> None:
        for folder in self._folder.glob(f"{SCRATCH}*") if self._folder else ():
            _log.warning("%s: %s was never finished and is passed over.", self._label, folder)
            shutil.rmtree(folder, ignore_errors=True)


class Shelf:
    """The unfinished trainings of one folder, each found again by what decides its bits."""

    def __init__(self, folder: Path | None, seconds: float):
        """`folder` None keeps nothing; `seconds` as in `Unfinished`."""
        self._folder = folder
        self._seconds = seconds
        self._thread = threading.local()

    @contextmanager
    def training(self, label: str, **deciding: Any) -> Iterator[Unfinished]:
        """One training's place; once it is through, `forget` empties it.

        Args:
            label: What is trained.
            deciding: All that decides its bits, as JSON's types and `Checkpoint`s, which stand
                for what their files hold.
        """
        if self._folder is None:
            yield Unfinished(label)
            return
        unfinished = Unfinished(label, self._folder / digest(**deciding), self._seconds)
        yield unfinished
        self._finished_by_this_thread().append(unfinished)

    def forget(self) -> None:
        """Deletes what was kept of the trainings that this thread has brought to their end."""
        finished = self._finished_by_this_thread()
        while finished:
            finished.pop().forget()

    def _finished_by_this_thread(self) -> list[Unfinished]:
        return vars(self._thread).setdefault("finished", [])


def digest(**deciding: Any) -> str:
    """A name that depends on the given things, on this package's version and the libraries'.

    A model counts by the SHA-256 of its files, not by their times: these change when a folder is
    copied to another machine, where the training is to go on.
    """
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    parts = {**deciding, "libraries": versions, "version": __version__}
    return json_digest(parts, _content)[:32]


def _content(model: Checkpoint) -> dict[str, Any]:
    """Sums of a model's files, cards aside; an adapter's base included."""
    return {
        "files": file_digests(model.path),
        "base": _content(base_of(model)) if is_adapter(model) else None,
    }


def _number(folder: Path) -> int:
    digits = folder.name.removeprefix(_STEP)
    return int(digits) if digits.isdecimal() else -1
