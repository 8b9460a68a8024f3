"""What the small samples show, by the rules by which the stages read the large ones."""

from typing import Any

import pandas as pd

from srlm_kedro.judge import refusals
from srlm_kedro.judge.judgements import candidate_status, merge_attempts, reparse
from srlm_kedro.judge.statistics import (
    measure_reward_modelling,
    ranked_pairs,
    share_interval,
    with_rewards,
)
from srlm_kedro.params import at
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.judging.rewards import judge_metrics, own_judgements
from srlm_kedro.pipelines.pairs import PairsParams, count_pairs
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.readiness.params import ReadinessParams
from srlm_kedro.pipelines.readiness.trying import Note
from srlm_kedro.records import Checkpoint, derive_seed

Figures = dict[str, Any]
"""By name; None for a figure that does not exist."""
_CUT = ("cut_off", "runs_on")


def measure_form(
    rankings: pd.DataFrame,
    judgements: pd.DataFrame,
    note: Note,
    readiness: ReadinessParams,
    seed: int,
) -> Figures:
    """The judge on human rankings, in one form; only `refused` if it could not be asked."""
    if note["refused"]:
        return note
    asked = rankings[rankings["response_id"].isin(judgements["response_id"])]
    read = merge_attempts(reparse(judgements))
    reasons = refusals.reasons_of(read)
    ended = (read["finish"] == "length") & read["score"].notna()
    counts = reasons.mask(ended, "runs_on").value_counts().drop("ok", errors="ignore")
    return note | {
        "prompts": int(asked["prompt_id"].nunique()),
        "judgements": len(read),
        "parse_rate": _share(read["score"].notna()),
        "reasons": {str(name): int(count) for name, count in counts.items()},
        "cut_off": sum(int(counts.get(name, 0)) for name in _CUT) / max(len(read), 1),
        **_order(asked, judgements, readiness, seed),
        **_repeats(read),
    }


def measure_answers(
    responses: pd.DataFrame,
    judgements: pd.DataFrame,
    note: Note,
    judging: JudgingParams,
    pairs: PairsParams,
) -> Figures:
    """The model's own responses: cut-offs, rewards, and the pairs that they give.

    `refused` says why there are no rewards. Figures of judgements are the judge's; the checker's
    scores count for the rewards.
    """
    status = candidate_status(responses, judging.cut, judging.empty)
    read = merge_attempts(reparse(judgements))
    asked = own_judgements(read)
    table = with_rewards(responses, read, judging.min_scores).assign(reason=status)
    judged = table[status == "ok"]
    found = count_pairs(table, pairs)
    made, prompts = found.pop("pairs"), int(table["prompt_id"].nunique())
    figures: Figures = {
        **note,
        "prompts": prompts,
        "responses": len(responses),
        "judgements": len(asked),
        "cut_off": _share(responses["finish"] == "length"),
        "no_room": _share(responses["finish"] == "no_room"),
        "empty": _share(responses["response"].str.strip() == ""),
        "pairs": made,
        "pair_yield": made / prompts,
        "without_pair": {name: count for name, count in found.items() if count},
        "saturation": None,
        "tied_prompts": None,
    }
    if judged["reward"].notna().any():
        metrics = judge_metrics(judged, judgements, asked)
        figures |= {
            "judgements_cut_off": _share(refusals.reasons_of(asked) == "cut_off"),
            "parse_rate": metrics["judge/parse_rate"],
            "saturation": metrics["judge/saturation"],
            "tied_prompts": metrics["judge/tied_prompts"],
            "mean_reward": metrics["judge/mean_reward"],
        }
    return figures


def measure_writing(
    written_prompts: pd.DataFrame, policy: Checkpoint, prompts: PromptsParams
) -> Figures:
    """The prompts that it writes: the accepted share, and what the next iteration would get."""
    reasons = written_prompts["reason"].value_counts()
    written, accepted = len(written_prompts), int(reasons.get("ok", 0))
    count = at(prompts.count, policy.iteration + 1)
    budget = at(prompts.max_written, policy.iteration + 1)
    share = accepted / max(written, 1)
    return {
        "written": written,
        "accepted": accepted,
        "accepted_share": share,
        "refused": {str(name): int(number) for name, number in reasons.items() if name != "ok"},
        "cut_off": int(reasons.get("cut_off", 0)) / max(written, 1),
        "count": count,
        "expected": min(count, round(share * budget)),
    }


def _order(
    asked: pd.DataFrame, judgements: pd.DataFrame, readiness: ReadinessParams, seed: int
) -> Figures:
    """How far the scores are in the order of the ranks, and what length has to do with it.

    `accuracy` counts the pairs with unequal scores, so that chance is 0.5 whatever is tied.
    `pairwise_accuracy` is that of `measure_reward_modelling`, where a tie is wrong.
    """
    table = ranked_pairs(asked, judgements)
    if not len(table):
        return {"pairs": 0}
    decided = table[(table["better"] != table["worse"]) & table["better"].notna()]
    decided = decided[decided["worse"].notna()]
    right = decided["better"] > decided["worse"]
    prompts = table["prompt_id"].unique()
    of = decided["prompt_id"].value_counts().reindex(prompts, fill_value=0)
    hits = decided.loc[right, "prompt_id"].value_counts().reindex(prompts, fill_value=0)
    sampled = (readiness.resamples, derive_seed(seed, "readiness"))
    low, high = share_interval(hits, of, *sampled)
    whole = table["prompt_id"].value_counts().reindex(prompts, fill_value=0)
    among_all = share_interval(hits, whole, *sampled)
    row = measure_reward_modelling(asked, judgements.assign(model="")).iloc[0]
    return {
        "pairs": len(table),
        "decided": len(decided),
        "accuracy": _share(right),
        "low": _known(low),
        "high": _known(high),
        "ties": float(row["tied_pairs"]) / len(table),
        "unscored": float(row["unscored_pairs"]) / len(table),
        "pairwise_accuracy": float(row["pairwise_accuracy"]) / 100,
        "pairwise_low": among_all[0],
        "pairwise_high": among_all[1],
        **_lengths(decided, right),
    }


def _lengths(decided: pd.DataFrame, right: pd.Series) -> Figures:
    """How often the judge prefers the longer response, how often people do, and in its mistakes.

    It counts pairs with unequal scores and unequal lengths, in characters.
    """
    lengths = (decided["better_text"].str.len() - decided["worse_text"].str.len()).rename("longer")
    unequal = lengths[lengths != 0]
    by_people = unequal > 0
    by_judge = by_people == right[unequal.index]
    mistaken = by_judge[~right[unequal.index]]
    return {
        "unequal_lengths": len(unequal),
        "longer_preferred": _share(by_judge),
        "longer_better": _share(by_people),
        "longer_preferred_in_mistakes": _share(mistaken),
        "mistakes": len(mistaken),
    }


def _repeats(read: pd.DataFrame) -> Figures:
    """How often two judgements of a response have the same whole score, and how often by chance."""
    scored = read.dropna(subset="score")
    points = (scored["score"] + 0.5).astype(int)
    wide = scored.assign(points=points).pivot(index="response_id", columns="k", values="points")
    if len(wide.columns) < 2:
        return {"repeated": 0}
    both = wide[[0, 1]].dropna() if {0, 1} <= set(wide.columns) else wide.iloc[:0]
    if not len(both):
        return {"repeated": 0}
    first, second = both.iloc[:, 0], both.iloc[:, 1]
    same = _share(first == second)
    shares = (one.value_counts(normalize=True) for one in (first, second))
    chance = float(pd.concat(shares, axis=1).fillna(0).prod(axis=1).sum())
    kappa = (same - chance) / (1 - chance) if same is not None and chance < 1 else None
    return {"repeated": len(both), "same": same, "same_by_chance": chance, "kappa": kappa}


def _share(hits: pd.Series) -> float | None:
    return float(hits.mean()) if len(hits) else None


def _known(figure: float) -> float | None:
    return None if pd.isna(figure) else figure
