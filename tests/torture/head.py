"""`python -m tests.torture.head`: kills the head of a cluster under a run; status 1 on a loss.

After each kill a new head is started, and the same command must go on, to the results of an
undisturbed run.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.project import inside
from srlm_kedro.engines.machine import free_port
from tests.torture.processes import beside, running
from tests.torture.project import TortureProject

_RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.head", description=__doc__)
    parser.add_argument("--kills", type=int, default=10, help="(10)")
    parser.add_argument("--seed", type=int, default=0, help="of the random instants")
    options = parser.parse_args()
    if _heads():
        parser.error("Ray runs on this machine already, and would be killed too. End it first.")
    address = os.environ["RAY_ADDRESS"] = f"127.0.0.1:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="torture-head-") as name:
        folder = Path(name).resolve() / "project"
        folder.mkdir()
        with inside(folder):
            fault = _torture(folder, address, options.kills, random.Random(options.seed))
    print(fault or "Nothing was lost.")
    return bool(fault)


def _torture(folder: Path, address: str, kills: int, chance: random.Random) -> str | None:
    """Runs a project until so many heads are killed; gives what went wrong."""
    project = TortureProject(folder, scripted=True, overlay="cluster")
    start = time.monotonic()
    with _head(address):
        if project.run().status:
            return _end_of_log(folder)
    longest = time.monotonic() - start
    print(f"Undisturbed: {longest:.0f} s.", flush=True)
    expected = project.outputs(whole=True)
    done = 0
    while done < kills:
        after = chance.random() * longest
        with _head(address), _killed(after) as killed:
            status = project.run().status
            ended = time.monotonic()
        done += len(killed)
        if killed and status:
            print(f"  killed; the run ended {ended - killed[0]:.0f} s later", flush=True)
        elif status:
            return _end_of_log(folder)
        else:
            if project.outputs(whole=True) != expected:
                return f"other results after {done} kills"
            print(f"  a run came to its end, {done} kills so far", flush=True)
            project.wipe()
    with _head(address):
        if project.run().status:
            return _end_of_log(folder)
    if project.outputs(whole=True) != expected:
        return f"other results after {done} kills"
    return None


def _end_of_log(folder: Path) -> str:
    return (folder / "run.log").read_text()[-4000:]


@contextmanager
def _head(address: str) -> Iterator[None]:
    """The head of a cluster, with two CPUs; nothing of it is left afterwards."""
    port = address.rpartition(":")[2]
    size = ["--num-cpus=2", "--object-store-memory=200000000", "--include-dashboard=false"]
    _ask("start", "--head", f"--port={port}", "--disable-usage-stats", *size)
    try:
        yield
    finally:
        _ask("stop", "--force")


def _ask(*arguments: str) -> None:
    subprocess.run([*_RAY, *arguments], check=True, capture_output=True)


@contextmanager
def _killed(after: float) -> Iterator[list[float]]:
    """Kills the head after so many seconds, unless all is over; gives the instant."""
    killed: list[float] = []

    def kill(over: threading.Event) -> None:
        if not over.wait(after):
            for number in _heads():
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            killed.append(time.monotonic())

    with beside(kill):
        yield killed


def _heads() -> list[int]:
    """The processes that make a head, of all clusters on this machine."""
    programs = (b"gcs_server", b"raylet")
    return running(lambda line: os.path.basename(line.partition(b"\0")[0]) in programs)


if __name__ == "__main__":
    sys.exit(main())
