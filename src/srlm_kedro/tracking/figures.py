"""Figures as SVG text: small, and shown by MLflow without a script from the network."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from srlm_kedro.display.safe_text import visible

_WIDTH, _HEIGHT, _MARGIN = 560, 280, 40


def reward_histogram(rewards: pd.Series, title: str, top: float = 5) -> str:
    """How the rewards are spread, in half points; responses without one stand apart."""
    steps = [i / 2 for i in range(int(2 * top) + 1)]
    nearest = (rewards.dropna() * 2).round().clip(0, 2 * top) / 2
    counts = {f"{step:g}": int((nearest == step).sum()) for step in steps}
    return bars({**counts, "none": int(rewards.isna().sum())}, title, "reward")


def bars(counts: Mapping[str, int], title: str, label: str) -> str:
    """A bar chart of counts."""
    highest = max([*counts.values(), 1])
    slot = (_WIDTH - 2 * _MARGIN) / len(counts)
    room = _HEIGHT - 2 * _MARGIN - 16
    parts = [_words(_WIDTH / 2, 22, title, 15), _words(_WIDTH / 2, _HEIGHT - 6, label, 12)]
    for i, (name, count) in enumerate(counts.items()):
        height = room * count / highest
        left, top = _MARGIN + i * slot, _HEIGHT - _MARGIN - height
        parts.append(
            f'<rect x="{left + slot * 0.1:.1f}" y="{top:.1f}" width="{slot * 0.8:.1f}" '
            f'height="{height:.1f}" fill="#3b6fb6"/>'
        )
        parts.append(_words(left + slot / 2, _HEIGHT - _MARGIN + 15, name, 11))
        parts.append(_words(left + slot / 2, top - 4, str(count), 11))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def _words(x: float, y: float, text: str, size: int) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="middle" '
        f'fill="#1c2733">{escape(visible(text))}</text>'
    )
