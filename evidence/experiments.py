"""What can be run: the main run, and controls beside it that share M0 to M1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAIN = "main"


@dataclass(frozen=True)
class Experiment:
    """One `kedro run` of a seed."""

    env: str | None
    """None: the main run."""
    title: str
    iterations: int | None = None
    """Of the loop; None: as the configuration says."""

    @property
    def name(self) -> str:
        """That of its figures; a longer run of the same configuration adds to them."""
        return self.env or MAIN

    def parameters(self, seed: int, quick: bool = False) -> dict[str, Any]:
        """Those of its command line; a quick one judges no more own answers than a plain run."""
        # Another judge prompt is another corpus: there M0 is the main run's.
        other = self.env == "multiple_choice"
        loop: dict[str, Any] = {"world": "given"} if other else {"pretrain": True}
        loop |= {"iterations": self.iterations} if self.iterations else {}
        study = {} if quick else {"study": {"own_prompts": None}}
        return {"seed": seed, "data": data_folder(seed), "loop": loop, **study}


def data_folder(seed: int) -> str:
    """Below the project; relative, as on a command line."""
    return f"data/seed{seed}"


EXPERIMENTS = {
    MAIN: Experiment(None, "The loop"),
    "shuffled_rewards": Experiment("shuffled_rewards", "Rewards in random order"),
    "frozen_judge": Experiment("frozen_judge", "M1 judges every iteration"),
    "oracle_judge": Experiment("oracle_judge", "True rewards: the ceiling"),
    "no_eft": Experiment("no_eft", "M1 never learns to judge"),
    "positives_only": Experiment("positives_only", "SFT on the best responses, no pairs"),
    "multiple_choice": Experiment("multiple_choice", "A multiple-choice judge prompt"),
    "m0_prompts": Experiment("m0_prompts", "M0 writes all prompts"),
    "nll": Experiment("nll", "The chosen response is learnt too (Iterative RPO)"),
    "length_normalised": Experiment("length_normalised", "DPO on log-ratios a token"),
    "length_control": Experiment("length_control", "Short before long (Meta-Rewarding)"),
    "cream": Experiment("cream", "Pairs count by agreement (CREAM)"),
    "self_judge_six": Experiment(None, "The loop to M6", 6),
    "frozen_judge_six": Experiment("frozen_judge", "M1 judges every iteration, to M6", 6),
}
"""By the names of the command line."""
TITLES = {each.name: each.title for each in EXPERIMENTS.values() if not each.iterations}
"""By the names of figures."""


def to_run(names: Sequence[str]) -> list[Experiment]:
    """The main run first, which the others share; of one configuration the longest run alone."""
    chosen: dict[str, Experiment] = {}
    for experiment in (EXPERIMENTS[name] for name in (MAIN, *names)):
        before = chosen.get(experiment.name)
        if before is None or (experiment.iterations or 0) > (before.iterations or 0):
            chosen[experiment.name] = experiment
    return list(chosen.values())
