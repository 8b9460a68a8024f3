"""The tables of a run: one row per model, M1 to M_T side by side."""

import pandas as pd

from srlm_kedro.records import Checkpoint
from srlm_kedro.referee.base import KINDS

STAGES = {
    "prompts": ("write_prompts", "accept_prompts"),
    "responses": ("draw_responses",),
    "judging": ("judge_candidates", "reward_responses", "judge_again", "measure_consistency"),
    "pairs": ("make_pairs",),
    "checks": (
        *("check_judged", "check_pairs", "document_checks", "gate"),
        *("check_contamination", "gate_contamination"),
    ),
    "training": ("train_sft", "train_m1", "train_dpo", "train_on_positives", "check_training"),
    "selection": (
        *("draw_validation_responses", "judge_validation_responses"),
        *("reward_validation_responses", "compare_with_previous"),
    ),
    "evaluation": (
        *("draw_eval_responses", "assess_responses", "judge_eft_eval"),
        *("measure_reward_modelling", "measure_model"),
        *("compare_with_elders", "settle_comparisons"),
    ),
    "study": (
        *("assess_candidates", "measure_judge", "describe_prompts", "measure_movement"),
        *("summarise_study", "choose_own", "judge_own", "reward_own", "measure_own"),
        *("judge_shuffled", "measure_rubric"),
    ),
}
"""The nodes whose time each column `seconds_<stage>` of `iterations` sums."""

COLUMNS = [
    *("model", "prompts", "responses", "cut", "empty", "judgements", "parse_rate", "pairs"),
    "mean_reward",
]
"""Columns of `iterations`. `cut` and `empty` count responses that were dropped and not judged."""
_COUNTS = ["prompts", "responses", "cut", "empty", "judgements", "pairs"]
SCORES = ["mean_oracle_score", "mean_length"]
DUELS = ["model", "opponent", "win", "tie", "loss", "n", "low", "high"]
JUDGES = ["model", "pairwise_accuracy", "five_best", "exact_match", "spearman", "kendall", "n"]
ERRORS = list(KINDS.values())
POINTS = range(6)
_DIGITS = 4


def _shares(who: str) -> list[str]:
    kinds = ["", *(f"_{kind}" for kind in KINDS)]
    return [f"{who}_{name}{kind}" for name in ("right", "tied") for kind in kinds]


SECTIONS = {
    "Each model as the judge of its own answers to held-out prompts. Of pairs of responses to one "
    "prompt with different true scores: % that it orders rightly, and % that it ties; then the "
    "same for pairs that differ in only one kind of error (items wrong, constraints missed, voice, "
    "extras).": _shares("own"),
    "M1 with its judge prompt, and with the words of the judge prompt in random order. Of the "
    "pairs of ranked responses that it scores: % that it orders rightly. Last: % without score.": [
        *("rubric_right", "rubric_right_shuffled", "rubric_unscored"),
    ],
    "The same for the judge that made the model, on the candidates that it judged.": _shares(
        "judge"
    ),
    "Number of prompts on which it tied all candidates, and % of them whose true scores tie too. % "
    "of the training pairs whose chosen response is truly better (true) or truly worse (false); "
    "then the same by kind of error.": [
        *("tied_groups", "ties_true", "pairs_true", "pairs_false"),
        *(f"pairs_{way}_{kind}" for kind in KINDS for way in ("better", "worse")),
    ],
    "New prompts: % valid, number of kinds of task, distance of their words from IFT's, mean "
    "ROUGE-L with the nearest IFT prompt (0 to 1), % of bigrams that are distinct. Movement from "
    "the model before, in nats per response: of its own answers (kl; kl token is per token) and of "
    "its training pairs (logp chosen moved, logp rejected moved: how much likelier each became).": [
        *("prompts_valid", "prompts_kinds", "prompts_distance", "prompts_nearest"),
        *("prompts_distinct_bigrams", "kl", "kl_token"),
        *("logp_chosen_moved", "logp_rejected_moved"),
    ],
}
"""The columns of `study` by section of the page, with the note of each section."""
STUDY = ["model", *(name for columns in SECTIONS.values() for name in columns)]


def describe_seed_model(model: Checkpoint, eval_metrics: dict[str, float]) -> pd.DataFrame:
    """One row for the SFT baseline or M1, which were not trained on pairs."""
    return _row(model, eval_metrics, {})


def describe_iteration(
    model: Checkpoint,
    eval_metrics: dict[str, float],
    prompts: pd.DataFrame,
    responses: pd.DataFrame,
    judge_metrics: dict[str, float],
    pair_metrics: dict[str, float],
) -> pd.DataFrame:
    """One row for M_t: counts of its iteration, and its scores."""
    made = {
        "prompts": len(prompts),
        "responses": len(responses),
        "cut": judge_metrics["judge/dropped_cut"],
        "empty": judge_metrics["judge/dropped_empty"],
        "judgements": judge_metrics["judge/judgements"],
        "parse_rate": judge_metrics["judge/parse_rate"],
        "pairs": pair_metrics["pairs/count"],
        "mean_reward": judge_metrics["judge/mean_reward"],
    }
    return _row(model, eval_metrics, made)


def collect_duels(*tables: pd.DataFrame) -> pd.DataFrame:
    """All head-to-heads, columns `DUELS`, in the order of the models."""
    return _collect(tables)[DUELS]


def collect_judges(*tables: pd.DataFrame) -> pd.DataFrame:
    """All models as judges, columns `JUDGES`, in their order."""
    return _collect(tables)[JUDGES]


def collect_iterations(timings: pd.DataFrame, *rows: pd.DataFrame) -> pd.DataFrame:
    """One row per model, with the seconds of each stage of its making; empty for other stages."""
    table = _collect(rows).astype(dict.fromkeys(_COUNTS, "Int64"))
    for stage, nodes in STAGES.items():
        spent = timings[timings["node"].isin(nodes)].groupby("model")["seconds"].sum()
        table[f"seconds_{stage}"] = table["model"].map(spent).astype(float).round(1)
    return table


def tabulate_errors(*eval_scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model: the referee's scores of its sampled responses, and its errors.

    The columns are mean scores (of all, of kinds of task seen and unseen in training, and of the
    greedy responses), shares of responses (perfect, by kind of error, by points), the mean share of
    missed constraints, the mean length in tokens, and the number of responses `n`.
    """
    return pd.DataFrame([_errors(table) for table in eval_scores]).round(_DIGITS)


def describe_study(model: Checkpoint, *metrics: dict[str, float]) -> pd.DataFrame:
    """One row, columns `STUDY`; figures that are unknown or were not studied are empty."""
    known = {name: value for each in metrics for name, value in each.items()}
    figures = {name: known.get(f"study/{name}", float("nan")) for name in STUDY[1:]}
    return pd.DataFrame([{"model": model.name, **figures}])


def collect_study(*rows: pd.DataFrame) -> pd.DataFrame:
    """One row per model, in their order."""
    return pd.concat(rows, ignore_index=True).round(_DIGITS)


def _errors(table: pd.DataFrame) -> dict[str, object]:
    sampled = table[table["mode"] == "sampled"]
    points = (sampled["score"].dropna() + 0.5).astype(int)
    return {
        "model": table["model"].iloc[0],
        "mean_score": sampled["score"].mean(),
        "score_seen": sampled.loc[sampled["seen"], "score"].mean(),
        "score_unseen": sampled.loc[~sampled["seen"], "score"].mean(),
        "greedy_score": table.loc[table["mode"] == "greedy", "score"].mean(),
        "perfect": (sampled["score"].dropna() == POINTS[-1]).mean(),
        **{kind: sampled[kind].mean() for kind in ERRORS},
        **{f"points_{number}": (points == number).mean() for number in POINTS},
        "mean_length": sampled["tokens"].mean(),
        "n": len(sampled),
    }


def _collect(tables: tuple[pd.DataFrame, ...]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True).round(_DIGITS)


def _row(model: Checkpoint, eval_metrics: dict[str, float], made: dict[str, float]) -> pd.DataFrame:
    scores = {
        # A referee that only compares gives no score.
        "mean_oracle_score": eval_metrics.get("eval/mean_score", float("nan")),
        "mean_length": eval_metrics["eval/mean_length"],
    }
    row = {"model": model.name, **made, **scores}
    return pd.DataFrame([row], columns=[*COLUMNS, *SCORES]).astype(
        dict.fromkeys([*COLUMNS[1:], *SCORES], float)
    )
