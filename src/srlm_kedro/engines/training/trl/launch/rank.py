"""What one rank runs; a module to run by torchrun, with a job folder as its argument."""

import os
import sys
from pathlib import Path

import torch

from srlm_kedro.engines.guarded import end_with_guard
from srlm_kedro.engines.training.ranks import Ranks
from srlm_kedro.engines.training.resume.unfinished import UnfinishedTraining
from srlm_kedro.engines.training.trl.fine_tuning import Workplace, run_dpo, run_sft
from srlm_kedro.engines.training.trl.guards import library_settings
from srlm_kedro.engines.training.trl.launch.job_folder import JobFolder
from srlm_kedro.engines.training.trl.policy import TrainingOptions


def main(folder: JobFolder) -> None:
    """Trains with the other ranks; the first one writes the model."""
    end_with_guard()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        asked = folder.asked()
        ranks = Ranks(size, rank, asked.replicas)
        setup = TrainingOptions(**asked.options, work_dir=folder.path, ranks=ranks)
        _join(setup.cpu)
        with library_settings(asked.threads):
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


def _join(cpu: bool) -> None:
    if not cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("gloo" if cpu else "cpu:gloo,cuda:nccl")


def _nothing(step: float, steps: int, loss: float) -> None:
    """Only the first rank reports."""


if __name__ == "__main__":
    main(JobFolder(Path(sys.argv[1])))
