"""Figures as the cells of Markdown tables."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from evidence.figures import Figures

NONE = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1) -> list[str]:
    """The lines of a table, none if it holds nothing; rows that hold only names are left out.

    Args:
        head: Of the columns.
        rows: Each begins with its names.
        names: How many.
    """
    kept = [row for row in rows if any(cell not in ("", NONE) for cell in row[names:])]
    if not kept:
        return []
    lines = [head, ["---"] * len(head), *kept]
    return [f"| {' | '.join(line)} |" for line in lines]


def model(name: str) -> str:
    """As people write it."""
    return name.upper()


def versus(name: str, opponent: str) -> str:
    """A comparison."""
    return f"{model(name)} - {model(opponent)}"


def number(value: float | None, digits: int = 2) -> str:
    """With so many digits after the point."""
    return NONE if value is None else f"{value:,.{digits}f}"


def points(value: float | None) -> str:
    """Win minus loss."""
    return NONE if value is None else f"{value:+.1f}"


def spread(by_seed: Mapping[int, float]) -> str:
    """Mean over seeds in points, and the standard deviation of one seed."""
    values = list(by_seed.values())
    if not values:
        return NONE
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"**{statistics.mean(values):+.1f}**{deviation}"


def duel(figures: Figures, experiment: str, seed: int, name: str, opponent: str) -> str:
    """Win minus loss with its 95% interval."""
    kinds = ("win_minus_loss", "low", "high")
    middle, low, high = (
        figures.at(experiment, seed, name, f"{kind} vs {opponent}") for kind in kinds
    )
    return NONE if middle is None else f"{points(middle)} ({points(low)} to {points(high)})"
