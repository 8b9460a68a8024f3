"""Contestants take turns: rounds in rotated order, one clock, medians with their spread.

A shared machine runs faster in one minute than in the next. Contestants that take turns meet the
same minutes, so their ratios stand where their times do not. The clock counts the processor time of
this process and of its living children; on a GPU, where that says nothing, it is wall time behind
a synchronised device.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

OURS = "ours"
"""Names of our own contestants begin with this."""


@dataclass(frozen=True)
class Setting:
    """What the command line decides; every part of the benchmarks is handed it."""

    rounds: int
    """Measured rounds of each contest."""
    quick: bool
    """Tiny sizes that show that it runs, and measure nothing."""
    device: str
    """`cpu` or `cuda`."""
    folder: Path
    """A scratch folder: models are made there, and deleted with it."""
    vllm: Path | None = None
    """The Python of an environment that has vLLM for processors; None leaves vLLM out."""
    say: Callable[[str], None] = print
    """Tells how far it is."""

    @property
    def heavy(self) -> "Setting":
        """With three rounds at most: for contests of a minute a round."""
        return replace(self, rounds=min(self.rounds, 3))


@dataclass(frozen=True)
class Contestant:
    """One way to do the work of a contest."""

    name: str
    run: Callable[[], float]
    """Does the work once; gives how many units of it were done (tokens, rows, prompts).

    Slow contestants may do fewer units: they are compared by the unit.
    """
    warm_up: Callable[[], object] | None = None
    """What it does in the round that does not count; None: all of its work."""
    rounds: int | None = None
    """Measured rounds at most, the first ones; None: all."""


@dataclass(frozen=True)
class Score:
    """What a contestant showed: units a second, one figure a round."""

    name: str
    rates: tuple[float, ...]
    beside: str | None = None
    """The one of ours that it is compared with; None: all of them."""

    @property
    def median(self) -> float:
        """The figure that is compared."""
        return statistics.median(self.rates)


def take_turns(contestants: Sequence[Contestant], setting: Setting) -> list[Score]:
    """Scores in the order of the contestants; a first round of all warms up and does not count."""
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(setting.rounds + 1):
        gc.collect()  # Nobody pays for what the round before left behind.
        first = number % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            if number == 0:
                (contestant.warm_up or contestant.run)()
            elif contestant.rounds is None or number <= contestant.rounds:
                rates[contestant.name].append(_rate(contestant.run, setting.device))
        setting.say(f"  round {number} of {setting.rounds}")
    return [Score(name, tuple(figures)) for name, figures in rates.items()]


def seconds(device: str) -> float:
    """The clock: processor time with that of living children, or wall time once the GPU is done."""
    if device == "cpu":
        times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
        return time.process_time() + sum(one.user + one.system for one in times)
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def _rate(run: Callable[[], float], device: str) -> float:
    start = seconds(device)
    units = run()
    return units / max(seconds(device) - start, 1e-9)
