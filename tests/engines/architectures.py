"""Every causal architecture that transformers knows, tried at toy size.

    python -m tests.engines.architectures [NAME ...]

writes a table: how each can be drawn from and why not faster, whether its texts are those of
`generate` for each prompt alone, and whether SFT and DPO train it. Two to three minutes.
"""

import gc
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.loading import load
from srlm_kedro.engines.generation.tiered.strategies import find_strategy
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.engines.training.trl.engine import TrlEngine
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint
from tests.engines.tiny import write_tiny
from tests.engines.tuning import DPO, EXAMPLES, PAIRS, SFT
from tests.engines.unbatched import Unbatched

TEXTS = ("w3", "w7 w8 w9 w1", "w30 w31 w32 w33 w34 w35 w36 w37 w38 w39 w1 w2 w3 w4")
"""Prompts of several lengths; the longest is longer than a window of the toy models."""
REQUESTS = [Request(f"p{place}", text) for place, text in enumerate(TEXTS)]
NEW = 8
"""Tokens of a completion."""
_SECONDS = 30
"""CPU time that one architecture may take."""
_STEP = {"epochs": 1}


@dataclass
class Outcome:
    """What became of one architecture."""

    kind: str
    path: str
    """A `Strategy`, `refused` or `not built`."""
    reason: str = ""
    drawn: str = ""
    """Whether texts are those of each prompt alone: yes, or what was found."""
    trained: str = ""
    """Whether SFT and DPO took a step: yes, or what was found."""
    seconds: float = 0.0

    @property
    def well(self) -> bool:
        """Whether it works, or is refused before any work."""
        works = self.drawn == self.trained == "yes"
        return self.path in ("refused", "not built") or works


def draws_as_unbatched(checkpoint: Checkpoint) -> int:
    """Greedy tokens that were compared with `generate`; seeded texts do not depend on neighbours.

    Raises:
        AssertionError: A text is another one than that of its prompt alone.
    """
    engine = TransformersEngine(device="cpu", threads=1)
    greedy = Sampling(n=2, temperature=0, max_new_tokens=NEW)
    rows = engine.generate(checkpoint, REQUESTS, greedy, seed=0)
    unbatched = Unbatched(checkpoint)
    count = sum(
        unbatched.compared(request.prompt, NEW, row)
        for request, row in zip(REQUESTS, rows, strict=True)
    )
    seeded = Sampling(n=3, temperature=1.0, max_new_tokens=NEW)
    together = engine.generate(checkpoint, REQUESTS, seeded, seed=4)
    apart = [engine.generate(checkpoint, [request], seeded, seed=4)[0] for request in REQUESTS]
    assert count, "no greedy token is clear enough to compare"
    assert together == apart, "a sample changes with its neighbours"
    return count


def trains(checkpoint: Checkpoint, folder: Path) -> None:
    """One step of SFT, and one of DPO on what it made."""
    trainer = TrlEngine(device="cpu", threads=1, work_dir=str(folder))
    made = trainer.sft(checkpoint, EXAMPLES, SFT.model_copy(update=_STEP), seed=1).checkpoint
    trainer.dpo(made, made, PAIRS, DPO.model_copy(update=_STEP), seed=1)


def tried(kind: str, folder: Path) -> Outcome:
    """The result of sampling from the architecture, and of training it, at toy size."""
    try:
        checkpoint = write_tiny(folder / "model", kind)
    except Exception as error:
        return Outcome(kind, "not built", _said(error))
    try:
        found = find_strategy(load(checkpoint, "float32", "cpu").model)
    except InputError as error:
        return Outcome(kind, "refused", _said(error))
    except Exception as error:
        return Outcome(kind, "cannot be tried", _said(error))
    if found.strategy is None:
        return Outcome(kind, "refused", found.last_reason)
    outcome = Outcome(kind, found.strategy.value, found.last_reason)
    outcome.drawn = _outcome(draws_as_unbatched, checkpoint)
    outcome.trained = _outcome(trains, checkpoint, folder)
    return outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown, one architecture a row, with the counts below."""
    heading = ("architecture", "path", "text as alone", "trained", "why not faster", "s")
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    for one in outcomes:
        cells = (one.kind, one.path, one.drawn, one.trained, one.reason, f"{one.seconds:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    counts = Counter(one.path for one in outcomes)
    faulty = [one.kind for one in outcomes if not one.well]
    said = ", ".join(f"{path}: {count}" for path, count in sorted(counts.items()))
    return "\n".join([*lines, "", f"{len(outcomes)} tried; {said}; faulty: {faulty or 'none'}"])


def _outcome(trial, *arguments) -> str:
    try:
        trial(*arguments)
    except Exception as error:
        return _said(error)
    return "yes"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".replace("|", "/")


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def late(*_) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def main(kinds: Sequence[str]) -> int:
    """Tries the named architectures, or all; 1 if one is faulty."""
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    outcomes = []
    for kind in kinds or MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        start = time.process_time()
        gc.freeze()  # each trial collects what it leaves, which should not take in all modules
        with tempfile.TemporaryDirectory() as folder:
            try:
                with _limited(_SECONDS):
                    outcome = tried(kind, Path(folder))
            except TimeoutError as error:
                outcome = Outcome(kind, "not built", str(error))
        outcome.seconds = time.process_time() - start
        outcomes.append(outcome)
        print("\t".join(map(str, vars(outcome).values())), file=sys.stderr, flush=True)
    print(table(outcomes))
    return int(not all(one.well for one in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
