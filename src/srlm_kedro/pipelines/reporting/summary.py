"""The summary that a run prints at its end."""

import textwrap

import pandas as pd

from srlm_kedro.pipelines.reporting.model_tables import ERRORS

_HEADER = [
    *("model", "vs previous (95%)", "vs SFT (95%)", "score", "items", "constraints", "voice"),
    *("extras", "judge", "length", "pairs", "time"),
]
_LEGEND = {
    "vs previous (95%)": "vs: win minus loss on held-out prompts, in points.",
    "score": "score: the referee's, 0 to 5.",
    "items": "items: share of responses with a wrong item.",
    "constraints": "constraints: share of the requests that were missed.",
    "voice": "voice: share of responses without an assistant's tone.",
    "extras": "extras: share of responses with something that nobody asked for.",
    "judge": "judge: share of EFT's ranked pairs that it orders rightly.",
    "length": "length: tokens per response.",
    "pairs": "pairs: those that it was trained on.",
    "time": "time: seconds that its making took.",
}
_NOTHING = "-"
_WIDTH = 96


def summarise_run(
    head_to_head: pd.DataFrame,
    reward_modelling: pd.DataFrame,
    iterations: pd.DataFrame,
    errors: pd.DataFrame,
    timings: pd.DataFrame,
) -> str:
    """One line per model, the legend, and the time of the whole run; no column without a figure.

    A line has the head-to-head with its 95% interval, the mean score, errors by kind, the accuracy
    as a judge, the length of responses, pairs and seconds.
    """
    judge = reward_modelling.set_index("model")["pairwise_accuracy"]
    wrong = errors.set_index("model")[ERRORS]
    lines = [_HEADER]
    for row in iterations.itertuples():
        seconds = iterations.filter(like="seconds_").loc[row.Index].sum()
        lines.append(
            [
                str(row.model).upper(),
                *_duels(head_to_head[head_to_head["model"] == row.model]),
                _formatted(row.mean_oracle_score, "{:.2f}"),
                *(_formatted(share, "{:.2f}") for share in wrong.loc[row.model]),
                _formatted(judge[row.model], "{:.1f}%"),
                _formatted(row.mean_length, "{:.1f}"),
                _formatted(row.pairs, "{:.0f}"),
                f"{seconds:.0f} s",
            ]
        )
    lines = _with_figures(lines)
    legend = textwrap.fill(" ".join(_LEGEND[name] for name in lines[0] if name in _LEGEND), _WIDTH)
    return f"{_aligned(lines)}\n\n{legend}\n{_time(timings, list(iterations['model']))}\n"


def _with_figures(lines: list[list[str]]) -> list[list[str]]:
    """The lines without the columns in which no model has a figure."""
    kept = [
        column
        for column in range(len(lines[0]))
        if any(line[column] != _NOTHING for line in lines[1:])
    ]
    return [[line[column] for column in kept] for line in lines]


def _time(timings: pd.DataFrame, models: list[str]) -> str:
    """The seconds that these models needed, with M0, EFT and the seed checks."""
    spent = timings.groupby("model", sort=False)["seconds"].sum()
    needed = [name for name in ("seed", "m0", "eft", *models) if name in spent.index]
    parts = [f"{name.upper()} {spent[name]:.0f}" for name in needed]
    return f"time: {spent[needed].sum():.0f} s in all ({', '.join(parts)})."


def _duels(rows: pd.DataFrame) -> tuple[str, str]:
    against_sft = rows[rows["opponent"] == "sft"]
    against_previous = rows[rows["opponent"] != "sft"]
    return _duel(against_previous), _duel(against_sft)


def _duel(rows: pd.DataFrame) -> str:
    if rows.empty:
        return _NOTHING
    row = rows.iloc[0]
    return f"{row['win'] - row['loss']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})"


def _formatted(value: float, form: str) -> str:
    return _NOTHING if pd.isna(value) else form.format(value)


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    cells = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in cells)
