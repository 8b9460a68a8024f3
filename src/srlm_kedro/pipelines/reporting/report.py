"""The report: one HTML page without scripts, which shows model output as data."""

from importlib.resources import files

import pandas as pd

from srlm_kedro.display.safe_text import page
from srlm_kedro.pipelines.reporting.study import SECTIONS
from srlm_kedro.pipelines.reporting.tables import ERRORS, POINTS


def write_report(
    head_to_head: pd.DataFrame,
    reward_modelling: pd.DataFrame,
    iterations: pd.DataFrame,
    errors: pd.DataFrame,
    study: pd.DataFrame,
    answers: pd.DataFrame,
    *judged: pd.DataFrame,
) -> str:
    """The page. `judged` are the judged samples of M2, M3, ... in their order.

    An empty `study` has no section.
    """
    duels = head_to_head.assign(margin=head_to_head["win"] - head_to_head["loss"])
    return page(
        files(__package__).joinpath("report.html.jinja").read_text("utf-8"),
        last=iterations["model"].iloc[-1],
        duels=duels.to_dict("records"),
        judges=reward_modelling.to_dict("records"),
        iterations=iterations.to_dict("records"),
        stages=[name for name in iterations.columns if name.startswith("seconds_")],
        errors=errors.to_dict("records"),
        kinds=[*ERRORS, "perfect"],
        points=[f"points_{number}" for number in POINTS],
        study=study.to_dict("records"),
        sections=SECTIONS,
        answers=answers.to_dict("records"),
        judged=[(f"M{t}", table.to_dict("records")) for t, table in enumerate(judged, start=2)],
        shown=_shown,
    )


def _shown(value: float, form: str = "{:.2f}") -> str:
    """A number in the page; a hyphen where there is none."""
    return "-" if pd.isna(value) else form.format(value)
