"""The run's models beside the rows that the paper prints."""

import pandas as pd

COLUMNS = [
    *("model", "source", "win_rate", "standard_error"),
    *("length_controlled_win_rate", "length_controlled_win_rate_local"),
    *("mean_characters", "annotated"),
]
"""Rates in %; `source` is `run` or `paper`. A row compares with the paper's only if it was made on
the official 805 instructions (`annotated`), with the official reference outputs and annotator."""

PAPER = pd.DataFrame(
    [
        ("GPT-4 0314", 22.07, None),
        ("Mistral Medium", 21.86, None),
        ("Self-Rewarding 70B M3", 20.44, 2552),
        ("Claude 2", 17.19, None),
        ("Gemini Pro", 16.85, None),
        ("GPT-4 0613", 15.76, None),
        ("Self-Rewarding 70B M2", 15.38, 1552),
        ("GPT-3.5 Turbo", 14.13, None),
        ("Llama 2 Chat 70B", 13.87, None),
        ("Self-Rewarding 70B M1", 9.94, 1092),
    ],
    columns=["model", "win_rate", "mean_characters"],
).assign(source="paper", annotated=805)
"""Paper: table 1, AlpacaEval 2.0, win rate over GPT-4 Turbo on 805 instructions."""
_DIGITS = 2


def describe_model(model: str, figures: dict[str, float]) -> pd.DataFrame:
    """One row of a model of this run, columns `COLUMNS`; figures that do not exist are NaN."""
    row = {"model": model, "source": "run", **figures}
    return pd.DataFrame([row], columns=COLUMNS).astype(dict.fromkeys(COLUMNS[2:], float))


def collect_leaderboard(*rows: pd.DataFrame) -> pd.DataFrame:
    """All models by win rate, the best first; columns `COLUMNS`."""
    paper = PAPER.reindex(columns=COLUMNS).astype(dict.fromkeys(COLUMNS[2:], float))
    table = pd.concat([*rows, paper], ignore_index=True)
    ordered = table.sort_values("win_rate", ascending=False, kind="stable", ignore_index=True)
    return ordered.round(_DIGITS)
