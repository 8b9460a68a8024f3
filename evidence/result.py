"""`python -m evidence.result`: the README's picture, drawn from `docs/evidence/figures.csv`.

Win minus loss of M1, M2 and M3 against the SFT baseline: mean and range of the seeds, and the
paper's. The SVG has its own background and follows a reader's light or dark mode.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from evidence import paper
from evidence.figures import FIRST, Figures

_MODELS = FIRST[1:]
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 470, 84, 316
_KEY = 500
_OURS = ["0.8M parameters, two CPU cores,", "scored by the microworld's oracle,"]
_PAPER = ["Llama 2 70B, judged by GPT-4"]
_FIGURE = "win_minus_loss vs sft"
_TICKS = range(0, 81, 20)
_LOWEST, _HIGHEST = -12, 82
_STYLE = """
    .card { fill: #ffffff; stroke: #d0d7de; }
    text { fill: #1f2328; font-family: system-ui, sans-serif; font-size: 13px; }
    .title { font-weight: 600; font-size: 16px; }
    .quiet { fill: #59636e; font-size: 12px; }
    .grid { stroke: #d0d7de; }
    .ours { stroke: #0969da; } .ours-fill { fill: #0969da; }
    .paper { stroke: #bc4c00; } .paper-fill { fill: #bc4c00; }
    .value { font-weight: 600; }
    @media (prefers-color-scheme: dark) {
      .card { fill: #0d1117; stroke: #3d444d; }
      text { fill: #f0f6fc; }
      .quiet { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .ours { stroke: #58a6ff; } .ours-fill { fill: #58a6ff; }
      .paper { stroke: #f0883e; } .paper-fill { fill: #f0883e; }
    }
"""


def picture(figures: Figures) -> str | None:
    """The SVG, the same bytes for the same figures; None where a model was not measured."""
    ours = [figures.mean(model, _FIGURE) for model in _MODELS]
    means = [0.0, *(value for value in ours if value is not None)]
    if len(means) <= len(_MODELS):
        return None
    theirs = [0.0, *(paper.win_minus_loss(model, "sft") or 0.0 for model in _MODELS)]
    seeds = len(figures.seeds())
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 370" width="760" height="370" '
        'role="img" aria-label="Win minus loss of M1, M2 and M3 against the SFT baseline">',
        f"<style>{_STYLE}</style>",
        '<rect class="card" x="0.5" y="0.5" width="759" height="369" rx="8"/>',
        _text(24, 34, "Win minus loss against the SFT baseline, in points", "title"),
        _text(24, 56, "held-out prompts; 0 means as good as the baseline", "quiet"),
        *_grid(),
        *_range(figures),
        _line(theirs, "paper", "6 5"),
        _line(means, "ours"),
        *_marks(theirs, "paper", 'fill="none" stroke-width="2"', 5),
        *_marks(means, "ours", "", 5),
        *_legend(
            "ours", 100, ["this project", *_OURS, f"mean of {seeds} seeds; bar: range"], means
        ),
        *_legend("paper", 220, ["the paper", *_PAPER], theirs),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _grid() -> list[str]:
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{_RIGHT}" y1="{_y(at):.1f}" y2="{_y(at):.1f}"/>'
        + _text(_LEFT - 10, _y(at) + 4, f"{at:+d}" if at else "0", "quiet", "end")
        for at in _TICKS
    ]
    names = ["SFT baseline", *(model.upper() for model in _MODELS)]
    return lines + [
        _text(_x(place), _BOTTOM + 28, name, "", "middle") for place, name in enumerate(names)
    ]


def _range(figures: Figures) -> Iterator[str]:
    """From the lowest seed to the highest, at each model."""
    look = 'stroke-width="12" stroke-opacity="0.3" stroke-linecap="round"'
    for place, model in enumerate(_MODELS, start=1):
        values = figures.by_seed(model, _FIGURE).values()
        ends = f'y1="{_y(min(values)):.1f}" y2="{_y(max(values)):.1f}"'
        yield f'<line class="ours" x1="{_x(place):.1f}" x2="{_x(place):.1f}" {ends} {look}/>'


def _line(values: Sequence[float], name: str, dashes: str = "") -> str:
    points = " ".join(f"{_x(place):.1f},{_y(value):.1f}" for place, value in enumerate(values))
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline class="{name}" points="{points}" fill="none" stroke-width="2.5"{dashed}/>'


def _marks(values: Sequence[float], name: str, look: str, size: float) -> list[str]:
    kind = name if look else f"{name}-fill"
    return [
        f'<circle class="{kind}" cx="{_x(place):.1f}" cy="{_y(value):.1f}" r="{size}" {look}/>'
        for place, value in enumerate(values)
    ]


def _legend(name: str, top: float, about: Sequence[str], values: Sequence[float]) -> list[str]:
    """A line's title, what it is, and its values."""
    shown = "\u2003".join(
        f"{model.upper()} {value:+.1f}" for model, value in zip(_MODELS, values[1:], strict=True)
    )
    title, *rest = about
    lines = [_text(_KEY, top, title, f"{name}-fill value")]
    lines += [_text(_KEY, top + 18 * n, part, "quiet") for n, part in enumerate(rest, start=1)]
    return [*lines, _text(_KEY, top + 18 * len(about) + 4, shown, "value")]


def _text(x: float, y: float, said: str, name: str = "", anchor: str = "start") -> str:
    kind = f' class="{name}"' if name else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said}</text>'


def _x(place: int) -> float:
    return _LEFT + 40 + place * (_RIGHT - _LEFT - 70) / len(_MODELS)


def _y(points: float) -> float:
    return _BOTTOM - (points - _LOWEST) * (_BOTTOM - _TOP) / (_HIGHEST - _LOWEST)


def draw(figures: Figures, folder: Path) -> None:
    """`result.svg` in a folder; an older one without figures goes."""
    path, drawn = folder / "result.svg", picture(figures)
    if drawn is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(drawn, "utf-8")


if __name__ == "__main__":
    draw(Figures(pd.read_csv("docs/evidence/figures.csv")), Path("docs"))
