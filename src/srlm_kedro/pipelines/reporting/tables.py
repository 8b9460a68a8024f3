"""The tables of a finished run. What a person compares first: M1 to M_T, side by side."""

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
"""Columns `seconds_<stage>` of `iterations`, and the nodes whose time they sum."""

COLUMNS = [
    *("model", "prompts", "responses", "cut", "empty", "judgements", "parse_rate", "pairs"),
    "mean_reward",
]
"""`cut` and `empty` are the responses dropped as such, which were not judged."""
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
STUDY = ["model", *(name for columns in SECTIONS.values() for name in columns)]


def describe_elder(model: Checkpoint, eval_metrics: dict[str, float]) -> pd.DataFrame:
    """One row for the SFT baseline or M1, which no pairs made."""
    return _row(model, eval_metrics, {})


def describe_iteration(
    model: Checkpoint,
    eval_metrics: dict[str, float],
    prompts: pd.DataFrame,
    responses: pd.DataFrame,
    judge_metrics: dict[str, float],
    pair_metrics: dict[str, float],
) -> pd.DataFrame:
    """One row for M_t: what its iteration wrote, drew, judged and paired, and what it scores."""
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
    """Every head-to-head, columns `DUELS`, in the order of the chain."""
    return _collect(tables)[DUELS]


def collect_judges(*tables: pd.DataFrame) -> pd.DataFrame:
    """Every model as a judge, columns `JUDGES`, in the order of the chain."""
    return _collect(tables)[JUDGES]


def collect_iterations(timings: pd.DataFrame, *rows: pd.DataFrame) -> pd.DataFrame:
    """One row a model, with the seconds that each stage of its making took; empty without it."""
    table = _collect(rows).astype(dict.fromkeys(_COUNTS, "Int64"))
    for stage, nodes in STAGES.items():
        spent = timings[timings["node"].isin(nodes)].groupby("model")["seconds"].sum()
        table[f"seconds_{stage}"] = table["model"].map(spent).astype(float).round(1)
    return table


def tabulate_errors(*eval_scores: pd.DataFrame) -> pd.DataFrame:
    """One row a model: its sampled responses by the referee's word.

    `mean_score`, on kinds of task seen and unseen in training too, and of the greedy response;
    shares of responses that are perfect, with wrong items, with missed voice, with something added,
    and of each number of points; mean share of constraints missed; mean length in tokens; `n`
    responses.
    """
    return pd.DataFrame([_errors(table) for table in eval_scores]).round(_DIGITS)


def describe_study(model: Checkpoint, *metrics: dict[str, float]) -> pd.DataFrame:
    """One row, columns `STUDY`; empty is what nobody can tell, or was not looked at."""
    told = {name: value for each in metrics for name, value in each.items()}
    figures = {name: told.get(f"study/{name}", float("nan")) for name in STUDY[1:]}
    return pd.DataFrame([{"model": model.name, **figures}])


def collect_study(*rows: pd.DataFrame) -> pd.DataFrame:
    """A row a model, in the order of the chain."""
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
