"""What the study says of all models, side by side."""

import pandas as pd

from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.base import KINDS


def _shares(who: str) -> list[str]:
    kinds = ["", *(f"_{kind}" for kind in KINDS)]
    return [f"{who}_{name}{kind}" for name in ("right", "tied") for kind in kinds]


SECTIONS = {
    "Each model as judge of its own answers to held-out prompts: % of pairs of a prompt's "
    "responses, of different true scores, ordered rightly or tied; then of pairs that differ in "
    "one kind of error alone (items wrong, constraints missed, voice, extras).": _shares("own"),
    "M1 under its judge prompt, and with that prompt's words in random order: % of the scored "
    "pairs of the held-back rankings that it orders rightly; then % of pairs without a score.": [
        *("rubric_right", "rubric_right_shuffled", "rubric_unscored"),
    ],
    "The judge that made the model, on the candidates that it judged; the same.": _shares("judge"),
    "Prompts on which it tied all candidates, and in % those whose true scores tie too; in % the "
    "training pairs that are true, or the wrong way round, and so by kind of error.": [
        *("tied_groups", "ties_true", "pairs_true", "pairs_false"),
        *(f"pairs_{way}_{kind}" for kind in KINDS for way in ("better", "worse")),
    ],
    "New prompts: % valid, kinds of task, distance of their words from IFT's and mean ROUGE-L of "
    "the nearest (0 to 1), % of bigrams that are distinct. Movement from the model before, in nats "
    "a response: of its own answers (kl; kl token: a token) and of its training pairs (logp chosen "
    "and rejected moved: how much likelier each became).": [
        *("prompts_valid", "prompts_kinds", "prompts_distance", "prompts_nearest"),
        *("prompts_distinct_bigrams", "kl", "kl_token"),
        *("logp_chosen_moved", "logp_rejected_moved"),
    ],
}
"""Columns of the table in the page's sections, each with its note."""
COLUMNS = ["model", *(name for columns in SECTIONS.values() for name in columns)]
_DIGITS = 4


def describe_study(model: Checkpoint, *metrics: dict[str, float]) -> pd.DataFrame:
    """One row, columns `COLUMNS`; empty is what nobody can tell, or was not looked at."""
    told = {name: value for each in metrics for name, value in each.items()}
    figures = {name: told.get(f"study/{name}", float("nan")) for name in COLUMNS[1:]}
    return pd.DataFrame([{"model": model.name, **figures}])


def collect_study(*rows: pd.DataFrame) -> pd.DataFrame:
    """A row a model, in the order of the chain."""
    return pd.concat(rows, ignore_index=True).round(_DIGITS)
