"""Readiness on a terminal: the verdicts, what helps, and the gain to expect."""

import textwrap

import pandas as pd

from srlm_kedro.display.commands import run_command
from srlm_kedro.pipelines.readiness.lines import NOT_ASKED, ORDER, Asked
from srlm_kedro.pipelines.readiness.prediction import MICROWORLD

_WIDTH = 100
_LEGEND = """A verdict in brackets is not needed by the configured loop. Samples are small; for
surer verdicts, raise `readiness.rankings`, `readiness.prompts` and `readiness.written`.
What each line means, and the reason for each bound: docs/how-to/readiness.md"""


def overview(table: pd.DataFrame, verdict: str, gain: dict[str, float] | None, asked: Asked) -> str:
    """The text.

    Args:
        table: One row a line, as `verdicts.table` gives it.
        verdict: Of all lines that the loop needs.
        gain: The prediction; None without one.
        asked: The model and the parameters.
    """
    loop = asked.loop
    head = (
        f"Readiness of {asked.model.upper()} for this loop (judge_form: {loop.judge_form}, eft: "
        f"{loop.eft}, judge: {loop.judge}, reward: {loop.reward}): {verdict.upper()}"
    )
    return "\n".join(
        [
            *textwrap.wrap(head, _WIDTH),
            "",
            *_rows(table),
            "",
            *_expected(gain, asked),
            *_later(asked),
            _LEGEND,
            "",
        ]
    )


def _rows(table: pd.DataFrame) -> list[str]:
    widths = [max(map(len, ORDER)) + 2, int(table["question"].str.len().max())]
    indent = " " * (sum(widths) + 4)
    shown: list[str] = []
    for row in table.itertuples():
        mark = row.verdict if row.needed or row.verdict == NOT_ASKED else f"({row.verdict})"
        start = f"{mark:<{widths[0]}}  {row.question:<{widths[1]}}  "
        shown += textwrap.wrap(row.found, _WIDTH, initial_indent=start, subsequent_indent=indent)
        if row.advice and row.needed:
            shown += textwrap.wrap(
                row.advice, _WIDTH, initial_indent=f"{indent}> ", subsequent_indent=f"{indent}  "
            )
    return shown


def _expected(gain: dict[str, float] | None, asked: Asked) -> list[str]:
    """The prediction, and what it was fitted on."""
    if gain is None:
        return ["gain of the next model: no prediction, because the judge orders no pair."]
    fit = MICROWORLD
    who = "M2" if asked.needs.before_m1 else f"M{int(asked.model[1:]) + 1}"
    source = (
        "with rewards that are always right"
        if asked.loop.reward == "checked"
        else f"with a judge that orders {gain['accuracy']:.0%} of all pairs rightly"
    )
    text = (
        f"gain of {who} over the model before it, {source}: {gain['gain']:+.0f} points of win "
        f"minus loss ({gain['low']:+.0f} to {gain['high']:+.0f}). Fitted on {fit.models} models "
        f"of {fit.seeds} seeds of the MICROWORLD: {fit.slope:g} x (2 x accuracy - 1), with a "
        f"scatter of {fit.left_out:g} points. Other models, data and lengths have other slopes: "
        "take the sign and the order of size, not the figure."
    )
    least = fit.yields[0]
    if gain["pair_yield"] < least:
        text += (
            f" Its seeds had {least:g} pairs a prompt or more, and this model has "
            f"{gain['pair_yield']:.2f}: expect less."
        )
    if asked.needs.learns:
        text += " M1 will have learnt to judge, and is what counts: this is the model before that."
    return [*textwrap.wrap(text, _WIDTH), ""]


def _later(asked: Asked) -> list[str]:
    if not asked.needs.learns:
        return []
    text = (
        f"M1 learns to judge from the seed data (`loop.eft: {asked.loop.eft}`), whatever this "
        "model knows of judging. So its accuracy is not needed yet: make M1, and ask again."
    )
    again = run_command("readiness", {"readiness.model": "m1"})
    return [*textwrap.wrap(text, _WIDTH), f"  {run_command('foundation')}", f"  {again}", ""]
