"""Ranks of one machine, started by torchrun and watched until they have ended."""

import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from srlm_kedro.engines.training.base import Trained
from srlm_kedro.engines.training.trl.launch.job_folder import Asked, JobFolder
from srlm_kedro.errors import GateError

_log = logging.getLogger(__name__)
_PACKAGE = __name__.rpartition(".")[0]
_LAST_LINES = 12
"""Lines at the end of the ranks' output that a message shows."""
_SECONDS_OF_ORPHANS = 2.0
"""Seconds after which no rank is left whose torchrun was killed (`agent.when_parent_ends`)."""
_SECONDS_TO_END = 30.0
"""Seconds that ranks have to end by themselves when they are told to."""

Report = Callable[[float, int, float], None]


def train(asked: Asked, ranks: int, tries: int, work_dir: Path | None, report: Report) -> Trained:
    """What N ranks have trained; they go on from their kept state if one of them dies.

    Args:
        asked: The training.
        ranks: N.
        tries: How often ranks may die without having come further.
        work_dir: Where scratch folders are made.
        report: Takes the steps done, the number of all steps, and the loss.

    Raises:
        InputError: A rank refuses an input.
        GateError: A rank stops at a limit, or ranks died too often.
    """
    path = Path(tempfile.mkdtemp(prefix="ranks-", dir=work_dir)).resolve()
    folder, died, furthest = JobFolder(path), 0, -1.0
    folder.write(asked)
    while True:
        with _started(path, ranks) as process:
            _follow(process, folder, report)
        if trained := folder.trained(asked.prepared.too_long):
            return trained
        reached, *_ = folder.progress() or (0.0, 0, math.nan)
        died = 1 if reached > furthest else died + 1
        furthest = max(furthest, reached)
        _stop_or_go_on(asked.job.label, folder, died, tries)


def _follow(process: subprocess.Popen[bytes], folder: JobFolder, report: Report) -> None:
    """Reports progress until the process has ended."""
    last, ended = None, False
    while not ended:
        ended = process.poll() is not None
        if (known := folder.progress()) and known != last:
            last = known
            report(*known)
        time.sleep(0.0 if ended else 0.2)


def _stop_or_go_on(label: str, folder: JobFolder, died: int, tries: int) -> None:
    if refusal := folder.refusal():
        raise refusal
    said = "\n".join([*folder.errors(), _last_lines(folder.path)])
    if died >= tries:
        raise GateError(
            f"{label}: a rank died {died} times without coming further (limit `tries` of the "
            f"training engine). Its last lines:\n{said}"
        )
    _log.warning("%s: a rank died; all go on from the kept state. It said:\n%s", label, said)
    folder.clear_errors()
    time.sleep(_SECONDS_OF_ORPHANS)


@contextmanager
def _started(folder: Path, ranks: int) -> Iterator[subprocess.Popen[bytes]]:
    """Torchrun at work; afterwards neither it nor a rank of it is left."""
    command = [
        *(sys.executable, "-m", f"{_PACKAGE}.agent", "--standalone"),
        *("--nproc-per-node", str(ranks), "-m", f"{_PACKAGE}.rank", str(folder)),
    ]
    with (folder / "ranks.log").open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_TO_END)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_lines(folder: Path) -> str:
    lines = (folder / "ranks.log").read_bytes()[-20_000:].decode(errors="replace").splitlines()
    return "\n".join(f"  | {line}" for line in lines[-_LAST_LINES:])
