"""Figures for kedro-viz and MLflow."""

from typing import Any

import pandas as pd

from srlm_kedro.pipelines.reporting.model_tables import ERRORS, POINTS


def plot_head_to_head(head_to_head: pd.DataFrame) -> Any:
    """Win minus loss of each model against earlier ones, in points, with its 95% interval."""
    import plotly.graph_objects as go

    middle = head_to_head["win"] - head_to_head["loss"]
    names = head_to_head["model"].str.upper() + " - " + head_to_head["opponent"].str.upper()
    bars = {"array": head_to_head["high"] - middle, "arrayminus": middle - head_to_head["low"]}
    figure = go.Figure(go.Bar(x=names, y=middle, error_y={"type": "data", **bars}))
    return figure.update_layout(title="Head-to-head", yaxis_title="win minus loss, points")


def plot_scores(errors: pd.DataFrame) -> Any:
    """The referee's scores of each model's sampled responses: the share of each, and the mean."""
    import plotly.graph_objects as go

    means = errors["mean_score"].map(" ({:.2f})".format).where(errors["mean_score"].notna(), "")
    names = errors["model"].str.upper() + means
    bars = [go.Bar(name=str(n), x=names, y=errors[f"points_{n}"]) for n in POINTS]
    layout = {"title": "Scores (mean)", "yaxis_title": "share", "barmode": "stack"}
    return go.Figure(bars).update_layout(**layout)


def plot_errors(errors: pd.DataFrame) -> Any:
    """Errors of each model: the share of its sampled responses, by kind of error."""
    import plotly.graph_objects as go

    names = errors["model"].str.upper()
    bars = [go.Bar(name=kind.replace("_", " "), x=names, y=errors[kind]) for kind in ERRORS]
    layout = {"title": "Errors by kind", "yaxis_title": "share", "barmode": "group"}
    return go.Figure(bars).update_layout(**layout)


def plot_rewards(judged_responses: pd.DataFrame) -> Any:
    """The distribution of the judge's rewards over one iteration's responses."""
    import plotly.graph_objects as go

    figure = go.Figure(go.Histogram(x=judged_responses["reward"].dropna(), xbins={"size": 1 / 3}))
    title = {"title": "Rewards", "xaxis_title": "mean score", "yaxis_title": "responses"}
    return figure.update_layout(**title)
