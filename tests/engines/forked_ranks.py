"""Ranks that are forked from a process that has imported what they need.

torchrun starts each rank anew, and its imports take longer than the trainings of these tests.
"""

import multiprocessing
import os
from pathlib import Path

from srlm_kedro.engines.machine import free_port
from srlm_kedro.engines.training.trl.launch.job_folder import JobFolder

_RANK = "srlm_kedro.engines.training.trl.launch.rank"


class ForkedRanks:
    """Ranks of this machine at work, in place of `Torchrun`."""

    def __init__(self, folder: Path, ranks: int):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_RANK])
        port = free_port()
        self._ranks = [
            context.Process(target=_run, args=(folder, rank, ranks, port), daemon=True)
            for rank in range(ranks)
        ]
        for one in self._ranks:
            one.start()

    def ended(self) -> bool:
        """Whether all have ended, or one of them has failed."""
        codes = [one.exitcode for one in self._ranks]
        return None not in codes or any(codes)

    def kill_one(self) -> None:
        """Kills the last of them."""
        self._ranks[-1].kill()

    def close(self) -> None:
        """Ends those that are left."""
        for one in self._ranks:
            one.kill()
            one.join()
            one.close()


def _run(folder: Path, rank: int, ranks: int, port: int) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(ranks),
        LOCAL_WORLD_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        SRLM_GUARD=str(os.getppid()),
    )
    output = os.open(JobFolder(folder).output, os.O_WRONLY | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(output, standard)
    from srlm_kedro.engines.training.trl.launch.rank import main

    main(JobFolder(folder))
