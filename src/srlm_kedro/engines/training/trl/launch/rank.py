"""What one rank runs; a module to run by torchrun, with a job folder as its argument."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch

from srlm_kedro.engines.guarded import end_with_guard
from srlm_kedro.engines.training.ranks import Ranks
from srlm_kedro.engines.training.resume.unfinished import UnfinishedTraining
from srlm_kedro.engines.training.trl.fine_tuning import Workplace, run_dpo, run_sft
from srlm_kedro.engines.training.trl.guards import library_settings
from srlm_kedro.engines.training.trl.launch.job_folder import JobFolder
from srlm_kedro.engines.training.trl.policy import TrainingOptions

_PATIENCE = timedelta(days=7)
"""How long ranks wait for one that writes a large model; torchrun notices those that die."""


def main(folder: JobFolder) -> None:
    """Trains with the other ranks; the first one writes the model."""
    end_with_guard()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        asked = folder.asked()
        here = int(os.environ["LOCAL_WORLD_SIZE"])
        ranks = Ranks(size, rank, asked.copies, here)
        if ranks.first:
            folder.tell()
        setup = TrainingOptions(**asked.options, work_dir=folder.path, ranks=ranks)
        _join(setup.cpu)
        with library_settings(asked.threads or _threads(here)):
            states = UnfinishedTraining(asked.job.label, asked.states, asked.seconds, ranks)
            place = Workplace(
                str(folder.path / "trainer"), states, folder.report if ranks.first else _nothing
            )
            if asked.kind == "sft":
                trained = run_sft(asked.job, asked.prepared, setup, place)
            else:
                trained = run_dpo(asked.job, asked.reference, asked.prepared, setup, place)
        if ranks.first:
            folder.finish(trained)
        ranks.wait()
        torch.distributed.destroy_process_group()
    except BaseException as error:
        folder.fail(rank, error)
        raise


def _threads(ranks: int) -> int:
    """Threads of one of so many ranks on this machine; torchrun would leave one to each."""
    return max(1, (os.cpu_count() or 1) // ranks)


def _join(cpu: bool) -> None:
    if not cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    kinds = "gloo" if cpu else "cpu:gloo,cuda:nccl"
    torch.distributed.init_process_group(kinds, timeout=_PATIENCE)


def _nothing(step: float, steps: int, loss: float) -> None:
    """Only the first rank reports."""


if __name__ == "__main__":
    main(JobFolder(Path(sys.argv[1])))
