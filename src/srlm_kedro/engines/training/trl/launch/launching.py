"""One training by ranks from its start to its end: it goes on when one of them dies."""

import dataclasses
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol

from srlm_kedro.engines.training.base import Trained
from srlm_kedro.engines.training.trl.launch.job_folder import Asked, JobFolder
from srlm_kedro.errors import GateError
from srlm_kedro.records import Checkpoint

_log = logging.getLogger(__name__)
_PAUSE = 0.2
"""Seconds between two looks at the ranks."""
_SECONDS_OF_ORPHANS = 2.0
"""Seconds after which no rank is left whose torchrun was killed (`guarded.end_with_guard`)."""

Report = Callable[[float, int, float], None]
"""Takes the steps done, the number of all steps, and the loss."""


class Ranks(Protocol):
    """Ranks at work."""

    def ended(self) -> bool:
        """Whether all have ended, or one of them has failed."""
        ...

    def close(self) -> None:
        """Ends those that are left, whatever they do."""
        ...


def train(
    asked: Asked,
    start: Callable[[Path], Ranks],
    tries: int,
    work_dir: Path | None,
    report: Report,
) -> Trained:
    """What ranks have trained; they go on from their kept state if one of them dies.

    Args:
        asked: The training.
        start: Starts the ranks for a job folder.
        tries: How often ranks may die without having come further.
        work_dir: Where scratch folders are made.
        report: Is told how far the training is.

    Raises:
        InputError: A rank refuses an input.
        GateError: A rank stops at a limit, or ranks died too often.
    """
    path = Path(tempfile.mkdtemp(prefix="ranks-", dir=work_dir)).resolve()
    try:
        return _kept(_trained(asked, JobFolder(path), start, tries, report), work_dir)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _kept(trained: Trained, work_dir: Path | None) -> Trained:
    """The model in a scratch folder of its own."""
    made = trained.checkpoint
    place = Path(tempfile.mkdtemp(prefix="model-", dir=work_dir))
    os.replace(made.path, place)
    return dataclasses.replace(trained, checkpoint=Checkpoint(place, made.name))


def _trained(
    asked: Asked,
    folder: JobFolder,
    start: Callable[[Path], Ranks],
    tries: int,
    report: Report,
) -> Trained:
    """What ranks have trained, in the job's folder."""
    died, furthest = 0, -1.0
    folder.write(asked)
    while True:
        folder.begin()
        with closing(start(folder.path)) as ranks:
            _follow(ranks, folder, report)
        if trained := folder.trained(asked.prepared.too_long):
            return trained
        reached = known[0] if (known := folder.progress()) else 0.0
        died = 1 if reached > furthest else died + 1
        furthest = max(furthest, reached)
        _stop_or_go_on(asked.job.label, folder, died, tries)


def _follow(ranks: Ranks, folder: JobFolder, report: Report) -> None:
    """Reports progress, and logs what the first rank logs, until the ranks have ended."""
    last, said, ended = None, 0, False
    while not ended:
        ended = ranks.ended()
        for line in folder.said(said):
            word, _, rest = line.partition(" ")
            level = logging.getLevelNamesMapping().get(word)
            _log.log(level or logging.INFO, "%s", rest if level else line)
            said += 1
        if (known := folder.progress()) and known != last:
            last = known
            report(*known)
        time.sleep(0.0 if ended else _PAUSE)


def _stop_or_go_on(label: str, folder: JobFolder, died: int, tries: int) -> None:
    if refusal := folder.refusal():
        raise refusal
    said = "\n".join([*folder.errors(), folder.last_lines()])
    if died >= tries:
        raise GateError(
            f"{label}: a rank died {died} times without coming further (limit `tries` of the "
            f"training engine). Its last lines:\n{said}"
        )
    _log.warning("%s: a rank died; all go on from the kept state. It said:\n%s", label, said)
    time.sleep(_SECONDS_OF_ORPHANS)
