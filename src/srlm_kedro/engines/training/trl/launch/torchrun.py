"""Ranks of one machine, started by torchrun."""

import sys
from collections.abc import Sequence
from pathlib import Path

from srlm_kedro.engines.guarded import GuardedProgram
from srlm_kedro.engines.training.trl.launch.job_folder import JobFolder

_RANK = f"{__name__.rpartition('.')[0]}.rank"


class Torchrun:
    """torchrun at work on this machine; after `close` neither it nor a rank of it is left."""

    def __init__(self, folder: Path, ranks: int, where: Sequence[str] = ("--standalone",)):
        """Starts the ranks.

        Args:
            folder: Of the job.
            ranks: How many on this machine.
            where: Arguments of torchrun about the other machines.
        """
        command = [
            *(sys.executable, "-m", "torch.distributed.run", *where),
            *("--nproc-per-node", str(ranks), "-m", _RANK, str(folder)),
        ]
        with JobFolder(folder).output.open("ab") as output:
            self.program = GuardedProgram(command, output=output)

    def ended(self) -> bool:
        """Whether all ranks have ended: torchrun ends the others when one fails."""
        return self.program.status is not None

    def close(self) -> None:
        """Ends torchrun, which ends its ranks."""
        self.program.end()
