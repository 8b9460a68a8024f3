"""The page's pictures: SVG, the same bytes for the same figures."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib

from evidence import cells, paper
from evidence.experiments import MAIN, TITLES
from evidence.figures import FIRST, KINDS, Figures
from srlm_kedro.referee import base

_STYLE = {
    "svg.hashsalt": "srlm_kedro",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.3,
}
_WIDE, _HIGH = 6.4, 3.2


def draw_all(figures: Figures, folder: Path) -> list[Path]:
    """Those that there are figures for; an older one without figures goes."""
    folder.mkdir(parents=True, exist_ok=True)
    return [path for name, draw in PLOTS.items() if (path := _drawn(figures, folder, name, draw))]


def _drawn(
    figures: Figures, folder: Path, name: str, draw: Callable[[Figures, Any], bool]
) -> Path | None:
    from matplotlib.figure import Figure

    path = folder / f"{name}.svg"
    with matplotlib.rc_context(_STYLE):
        picture = Figure(figsize=(_WIDE, _HIGH), layout="constrained")
        if draw(figures, picture.add_subplot()):
            picture.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
            return path
    path.unlink(missing_ok=True)
    return None


def head_to_head(figures: Figures, axes: Any) -> bool:
    """Win minus loss of each comparison and seed with its interval; the paper's as a diamond."""
    seeds, pairs = figures.seeds(), list(paper.DUELS)
    for at, seed in enumerate(seeds):
        shift = (at - (len(seeds) - 1) / 2) * 0.12
        for place, (model, opponent) in enumerate(pairs):
            kinds = ("win_minus_loss", "low", "high")
            values = [figures.at(MAIN, seed, model, f"{kind} vs {opponent}") for kind in kinds]
            if None in values:
                continue
            middle, low, high = values
            error = [[middle - low], [high - middle]]
            label = f"seed {seed}" if place == 0 else None
            axes.errorbar(
                [place + shift], [middle], yerr=error, fmt="o", ms=4, color=f"C{at}", label=label
            )
    theirs = [paper.win_minus_loss(*pair) for pair in pairs]
    axes.plot(range(len(pairs)), theirs, "D", ms=6, mfc="none", color="black", label="paper")
    axes.axhline(0, color="grey", lw=0.8)
    axes.set_xticks(range(len(pairs)), [cells.versus(*pair) for pair in pairs])
    axes.set_ylabel("win minus loss, points")
    axes.legend(fontsize=7, ncols=2)
    return bool(seeds)


def errors(figures: Figures, axes: Any) -> bool:
    """Share of responses with each kind of error, means over seeds."""
    lines = {name.replace("_", " "): (MAIN, name) for name in base.KINDS.values()}
    drawn = _lines(figures, axes, FIRST, lines, "share of sampled responses")
    axes.set_ylim(bottom=0)
    return drawn


def own_accuracy(figures: Figures, axes: Any) -> bool:
    """Pairs of a model's own responses that it orders right, by kind of difference."""
    lines = {kind: (MAIN, f"own right {kind}") for kind in KINDS}
    axes.set_ylim(0, 100)
    return _lines(figures, axes, FIRST, lines, "pairs ordered right, %")


def curve(figures: Figures, axes: Any) -> bool:
    """Mean score of M1, M2, ... judged by themselves and by M1; seeds that went beyond M3."""
    models = [name for name in figures.models() if name != "sft"]
    drawn = False
    for at, (name, said) in enumerate(((MAIN, "own judge"), ("frozen_judge", "M1 judges"))):
        seeds = list(figures.by_seed("m4", "mean_score", name))
        for seed in seeds:
            values = [figures.at(name, seed, model, "mean_score") for model in models]
            axes.plot(_ticks(models), values, color=f"C{at}", alpha=0.3, lw=0.8)
        if seeds:
            means = [figures.mean(model, "mean_score", name, seeds) for model in models]
            axes.plot(_ticks(models), means, "o-", color=f"C{at}", label=said)
            drawn = True
    axes.set_ylabel("mean score, 0 to 5")
    if drawn:
        axes.legend(fontsize=7)
    return drawn


def controls(figures: Figures, axes: Any) -> bool:
    """The last model against SFT, each experiment and seed."""
    found = set(figures.experiments)
    names = [name for name in TITLES if name in found]
    for place, name in enumerate(names):
        model = next((m for m in ("m3", "m2") if figures.by_seed(m, "win vs sft", name)), "m3")
        values = list(figures.by_seed(model, "win_minus_loss vs sft", name).values())
        axes.plot(values, [place] * len(values), "o", ms=5, color="C0", alpha=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.axvline(0, color="grey", lw=0.8)
    axes.set_xlabel("last model up to M3 against SFT: win minus loss, points; a dot a seed")
    return len(names) > 1


PLOTS: dict[str, Callable[[Figures, Any], bool]] = {
    "head_to_head": head_to_head,
    "errors": errors,
    "own_accuracy": own_accuracy,
    "curve": curve,
    "controls": controls,
}
"""By the names of their files."""


def _lines(
    figures: Figures,
    axes: Any,
    models: Iterable[str],
    lines: dict[str, tuple[str, str]],
    said: str,
) -> bool:
    """A line a figure over models; False where there is none."""
    names = list(models)
    drawn = False
    for label, (experiment, figure) in lines.items():
        values = [figures.mean(model, figure, experiment) for model in names]
        if any(value is not None for value in values):
            axes.plot(_ticks(names), values, "o-", ms=4, label=label)
            drawn = True
    axes.set_ylabel(said)
    if drawn:
        axes.legend(fontsize=7)
    return drawn


def _ticks(models: Iterable[str]) -> list[str]:
    return [cells.model(name) for name in models]
