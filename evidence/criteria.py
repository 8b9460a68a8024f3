"""What is claimed, the figure that speaks to it, and whether it is met."""

from collections.abc import Mapping
from dataclasses import dataclass

from evidence import cells
from evidence.figures import FIRST, Figures

LEAST = {("m2", "m1"): 28.0, ("m3", "m2"): 20.0, ("m3", "sft"): 50.0}
"""Win minus loss in points, mean over seeds."""
CONTROLS = {"shuffled_rewards": 5.0}
"""How far at most, in points, a control may move with any seed."""
OWN = {"all": 85.0, "items": 70.0}
"""Least share of its own responses' pairs that M1 orders right, in %, by kind."""
SHUFFLED = 5.0
"""Least accuracy, in points, that M1 as judge loses when its prompt's words are shuffled."""
_LOWER = {
    "items wrong": "items_wrong",
    "constraints missed": "constraints_missed",
    "voice missed": "voice_missed",
}


@dataclass(frozen=True)
class Criterion:
    """One row of the table."""

    claim: str
    figure: str
    met: bool


def table(figures: Figures) -> list[str]:
    """The section; a claim whose figures are missing is left out."""
    rows = [
        [one.claim, one.figure, "met" if one.met else "**not met**"] for one in criteria(figures)
    ]
    lines = cells.table(["claim", "figure", ""], rows)
    return ["## Criteria", "", *lines, ""] if lines else []


def criteria(figures: Figures) -> list[Criterion]:
    """All claims that the figures speak to."""
    found = [
        _clear_of_zero(figures, "m2", "m1"),
        _clear_of_zero(figures, "m3", "m2"),
        *(_at_least(figures, *pair, least) for pair, least in LEAST.items()),
        _does_not_fall(figures),
        *(_still(figures, name, most) for name, most in CONTROLS.items()),
        *(_lower(figures, said, name) for said, name in _LOWER.items()),
        _greedy(figures),
        _no_longer(figures),
        *(_judges(figures, kind, least) for kind, least in OWN.items()),
        _reads(figures),
        *(_rises(figures, kind) for kind in OWN),
    ]
    return [one for one in found if one is not None]


def _clear_of_zero(figures: Figures, model: str, opponent: str) -> Criterion | None:
    lows = figures.by_seed(model, f"low vs {opponent}")
    if not lows:
        return None
    clear = sum(low > 0 for low in lows.values())
    claim = f"{cells.versus(model, opponent)}: the 95% interval is above zero with every seed"
    return Criterion(claim, f"{clear} of {len(lows)} seeds", clear == len(lows))


def _at_least(figures: Figures, model: str, opponent: str, least: float) -> Criterion | None:
    mean = figures.mean(model, f"win_minus_loss vs {opponent}")
    if mean is None:
        return None
    claim = f"{cells.versus(model, opponent)}: {least:+.0f} points or more, mean over seeds"
    return Criterion(claim, cells.points(mean), mean >= least)


def _does_not_fall(figures: Figures) -> Criterion | None:
    later = [name for name in figures.models() if name not in FIRST]
    highs = [
        high
        for name in later
        for high in figures.by_seed(name, f"high vs m{int(name[1:]) - 1}").values()
    ]
    if not highs:
        return None
    fallen = sum(high < 0 for high in highs)
    claim = f"M4 to {cells.model(later[-1])}: the 95% interval against the model before reaches 0"
    return Criterion(claim, f"{len(highs) - fallen} of {len(highs)} models", not fallen)


def _still(figures: Figures, name: str, most: float) -> Criterion | None:
    moves = [
        value
        for model, opponent in (("m2", "m1"), ("m3", "m2"))
        for value in figures.by_seed(model, f"win_minus_loss vs {opponent}", name).values()
    ]
    if not moves:
        return None
    largest = max(moves, key=abs)
    claim = f"`{name}`: M2 - M1 and M3 - M2 within {most:.0f} points with every seed"
    return Criterion(claim, f"largest {cells.points(largest)}", abs(largest) <= most)


def _lower(figures: Figures, said: str, name: str) -> Criterion | None:
    change = _change(figures.by_seed("m1", name), figures.by_seed("m3", name))
    if change is None:
        return None
    before, after = change
    return Criterion(
        f"{said}: less at M3 than at M1, mean", f"{before:.3f} to {after:.3f}", after < before
    )


def _greedy(figures: Figures) -> Criterion | None:
    change = _change(figures.by_seed("m1", "greedy_score"), figures.by_seed("m3", "greedy_score"))
    if change is None:
        return None
    before, after = change
    claim = "greedy decoding scores higher at M3 than at M1, mean"
    return Criterion(claim, f"{before:.2f} to {after:.2f}", after > before)


def _no_longer(figures: Figures) -> Criterion | None:
    length, asked = figures.mean("m3", "mean_length"), figures.mean("", "asked tokens")
    if length is None or asked is None:
        return None
    claim = "M3's responses are no longer than right answers to the same prompts, tokens"
    return Criterion(claim, f"{length:.2f}, {asked:.2f}", length <= asked)


def _judges(figures: Figures, kind: str, least: float) -> Criterion | None:
    mean = figures.mean("m1", f"own right {kind}")
    if mean is None:
        return None
    claim = f"M1 orders its own responses right, pairs that differ in {_said(kind)}: {least:.0f}%"
    return Criterion(claim, f"{mean:.1f}%", mean >= least)


def _reads(figures: Figures) -> Criterion | None:
    change = _change(
        figures.by_seed("m1", "rubric_right"), figures.by_seed("m1", "rubric_right_shuffled")
    )
    if change is None:
        return None
    right, shuffled = change
    claim = (
        "M1 reads the judge prompt: its words in random order cost "
        f"{SHUFFLED:.0f} points of its accuracy or more"
    )
    return Criterion(claim, f"{right:.1f}% to {shuffled:.1f}%", right - shuffled >= SHUFFLED)


def _rises(figures: Figures, kind: str) -> Criterion | None:
    name = f"own right {kind}"
    change = _change(figures.by_seed("m1", name), figures.by_seed("m3", name))
    if change is None:
        return None
    before, after = change
    claim = f"the judge's accuracy on its own responses rises from M1 to M3, {_said(kind)}"
    return Criterion(claim, f"{before:.1f}% to {after:.1f}%", after > before)


def _said(kind: str) -> str:
    return "anything" if kind == "all" else f"only {kind}"


def _change(before: Mapping[int, float], after: Mapping[int, float]) -> tuple[float, float] | None:
    """Means over the seeds that have both."""
    seeds = sorted(set(before) & set(after))
    if not seeds:
        return None
    first, last = (sum(each[seed] for seed in seeds) / len(seeds) for each in (before, after))
    return first, last
