"""`python -m tests.torture.ranks`: kills ranks at random instants of trainings; status 1 on a loss.

Each training must come to the bits of an undisturbed one with as many ranks, and leave no process.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from srlm_kedro.engines.training.trl.engine import TrlEngine
from tests.engines.models import write_model
from tests.engines.test_training_ranks import PAIRS, SMALL_DPO, distance
from tests.torture.processes import children, gone, killing

_PARAMS = SMALL_DPO.model_copy(update={"epochs": 6})
_TRIES = 100


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.ranks", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="in all (20)")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4], help="in turn (2 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the random instants")
    options = parser.parse_args()
    chance, faults, kills, trainings = random.Random(options.seed), [], 0, 0
    with tempfile.TemporaryDirectory(prefix="torture-ranks-") as name:
        folder = Path(name)
        model = write_model(folder / "m0")
        for ranks in options.ranks:
            start = time.monotonic()
            expected = _train(folder / f"undisturbed-{ranks}", model, ranks)
            longest = time.monotonic() - start
            print(f"{ranks} ranks, undisturbed: {longest:.0f} s.", flush=True)
            wanted = options.kills // len(options.ranks)
            while wanted > 0 and not faults:
                seen: set[int] = set()
                place = folder / f"{ranks}-{trainings}"
                with killing(lambda seen=seen: _ranks(seen), chance, longest, wanted) as killed:
                    found = _train(place, model, ranks)
                trainings, kills, wanted = trainings + 1, kills + len(killed), wanted - len(killed)
                print(f"  {len(killed)} kills in a training", flush=True)
                if distance(found, expected):
                    faults.append(f"{ranks} ranks: other weights after {len(killed)} kills")
                if not gone(sorted(seen)):
                    faults.append(f"{ranks} ranks: a process is left")
    print("\n".join(faults) or f"{kills} kills in {trainings} trainings: nothing lost.")
    return bool(faults)


def _train(folder: Path, model, ranks: int):
    engine = TrlEngine(
        device="cpu",
        threads=1,
        work_dir=str(folder / "work"),
        checkpoints=str(folder / "states"),
        checkpoint_seconds=0,
        ranks=ranks,
        tries=_TRIES,
    )
    return engine.dpo(model, model, PAIRS, _PARAMS, 1).checkpoint


def _ranks(seen: set[int]) -> list[int]:
    """The ranks that live: what torchrun started, which a guard started. All are noted."""
    guards = children(os.getpid())
    guards += [one for guard in guards for one in children(guard)]  # each guard has a second one
    torchruns = [one for guard in guards for one in children(guard) if one not in guards]
    ranks = [one for torchrun in torchruns for one in children(torchrun)]
    seen |= {*guards, *torchruns, *ranks}
    return ranks


if __name__ == "__main__":
    sys.exit(main())
