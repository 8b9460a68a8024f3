"""The report: one HTML page without scripts, which escapes model output, and its samples."""

from importlib.resources import files

import pandas as pd

from srlm_kedro.display.safe_text import render_page
from srlm_kedro.parts import Parts
from srlm_kedro.pipelines.reporting.model_tables import ERRORS, POINTS, SECTIONS
from srlm_kedro.records import derive_seed

_PROMPTS = 6


def write_report(
    head_to_head: pd.DataFrame,
    reward_modelling: pd.DataFrame,
    iterations: pd.DataFrame,
    errors: pd.DataFrame,
    study: pd.DataFrame,
    answers: pd.DataFrame,
    *judged: pd.DataFrame,
) -> str:
    """The page; `judged` are the samples of M2, M3, ... An empty `study` has no section."""
    duels = head_to_head.assign(margin=head_to_head["win"] - head_to_head["loss"])
    return render_page(
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
        number=_formatted,
    )


def _formatted(value: float, form: str = "{:.2f}") -> str:
    """A number as text; a hyphen for NaN."""
    return "-" if pd.isna(value) else form.format(value)


def pick_judged(judged_responses: pd.DataFrame, judgements: Parts, seed: int) -> pd.DataFrame:
    """The responses with the highest and the lowest reward to a few prompts, with judgements.

    Returns:
        Columns prompt, response, reward, judgement; the two responses to a prompt are next to each
        other.
    """
    rewarded = judged_responses.dropna(subset="reward")
    chosen = _some(rewarded["prompt_id"], seed, "judged")
    rows = rewarded[rewarded["prompt_id"].isin(chosen)].sort_values(
        ["prompt_id", "reward"], ascending=[True, False], kind="stable"
    )
    ends = rows.groupby("prompt_id").nth([0, -1])
    parts = [part[part["response_id"].isin(ends["response_id"])] for part in judgements]
    parsed = pd.concat(parts).dropna(subset="score").drop_duplicates("response_id")
    texts = parsed.set_index("response_id")["text"]
    picked = ends.assign(judgement=ends["response_id"].map(texts).fillna(""))
    return picked[["prompt", "response", "reward", "judgement"]].reset_index(drop=True)


def pick_answers(seed: int, *eval_scores: pd.DataFrame) -> pd.DataFrame:
    """The responses of all models to the same few held-out prompts, which the seed chooses.

    It is the greedy response, or the first sampled one if there is no greedy one.

    Returns:
        Columns prompt, kind, model, response, score, reasons.
    """
    table = pd.concat(eval_scores, ignore_index=True)
    mode = "greedy" if "greedy" in set(table["mode"]) else "sampled"
    one = table[(table["mode"] == mode) & (table["sample"] == 0)]
    rows = one[one["prompt_id"].isin(_some(one["prompt_id"], seed, "answers"))]
    rows = rows.sort_values("prompt_id", kind="stable")
    return rows[["prompt", "kind", "model", "response", "score", "reasons"]].reset_index(drop=True)


def _some(ids: pd.Series, seed: int, label: str) -> set[str]:
    """A few ids, chosen by the seed."""
    return set(sorted(set(ids), key=lambda id_: derive_seed(seed, label, id_))[:_PROMPTS])
