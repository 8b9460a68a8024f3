"""Statistics of judging: who wins over many prompts, and how well a judge agrees with people."""

import numpy as np
import pandas as pd

from srlm_kedro.judge.judgements import merge_attempts, reparse

READS_AGAIN = True
"""See `freshness.provenance`: a change here draws and judges nothing again."""

_INTERVAL = (2.5, 97.5)


def with_rewards(responses: pd.DataFrame, read: pd.DataFrame, min_scores: int) -> pd.DataFrame:
    """`responses` with their `reward`, the mean of their scores, and the number of these `scores`.

    A judgement without a score does not enter the mean. A response with fewer scores than
    `min_scores` has no reward. Answers to criteria are not drawn, so one score is enough.

    If a checker gave scores too (`judgements.given_judgements`), the reward is the mean of the
    judge's mean and the checker's score. A response that lacks one of them has no reward.
    """
    if "log_yes" in read:
        min_scores = 1
    if "given" not in read:
        return _rewarded(responses, *_mean_scores(responses, read, min_scores))
    own, stated = (read[read["given"].isna()], read[read["given"].notna()])
    reward, scores = _mean_scores(responses, stated, 1)
    if len(own):
        own_reward, own_scores = _mean_scores(responses, own, min_scores)
        reward, scores = (reward + own_reward) / 2, scores + own_scores
    return _rewarded(responses, reward, scores)


def _mean_scores(
    responses: pd.DataFrame, read: pd.DataFrame, least: int
) -> tuple[pd.Series, pd.Series]:
    """The mean of each response's scores, NaN if they are fewer than `least`; and their number."""
    by_response = read.groupby("response_id")["score"].agg(["mean", "count"])
    found = by_response.reindex(responses["response_id"]).set_axis(responses.index)
    scores = found["count"].fillna(0).astype(int)
    return found["mean"].where(scores >= least), scores


def _rewarded(responses: pd.DataFrame, reward: pd.Series, scores: pd.Series) -> pd.DataFrame:
    # The last bits of a mean depend on the order of the sum. Rounding them off makes ties equal.
    return responses.assign(reward=reward.round(9), scores=scores)


def tally(won: pd.Series, resamples: int, seed: int) -> dict[str, float]:
    """`win`, `tie` and `loss` in %, `n` prompts, and `low` and `high`.

    `low` and `high` are the 95% interval of win minus loss. The responses to one prompt are not
    independent, so shares are averaged within each prompt first, and the bootstrap resamples the
    prompts.

    Args:
        won: 1 (win), 0 (tie) or -1 (loss) for each comparison, indexed by prompt; at least one.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    outcomes = pd.DataFrame({"win": won > 0, "tie": won == 0, "loss": won < 0})
    shares = 100 * outcomes.groupby(level=0, sort=False).mean()
    low, high = bootstrap_interval((shares["win"] - shares["loss"]).to_numpy(), resamples, seed)
    mean = {name: float(value) for name, value in shares.mean().items()}
    return {**mean, "n": len(shares), "low": low, "high": high}


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """The 95% percentile interval of the mean of `values`, one value per prompt."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), _INTERVAL)
    return float(low), float(high)


def share_interval(
    hits: pd.Series, of: pd.Series, resamples: int, seed: int
) -> tuple[float, float]:
    """The 95% percentile interval of a share of pairs, where the bootstrap resamples the prompts.

    A resample in which no pair counts is left out; NaN if none is left.

    Args:
        hits: Number of the pairs of each prompt that are meant.
        of: Number of all its pairs that count.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    drawn = np.random.default_rng(seed).integers(len(of), size=(resamples, len(of)))
    totals = of.to_numpy()[drawn].sum(axis=1)
    if not totals.any():
        return float("nan"), float("nan")
    shares = hits.to_numpy()[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(shares, _INTERVAL)
    return float(low), float(high)


METRICS = ("pairwise_accuracy", "five_best", "exact_match", "spearman", "kendall")
_TOP = 5
_DIGITS = 9


def measure_reward_modelling(
    eft_eval: pd.DataFrame, eft_eval_judgements: pd.DataFrame
) -> pd.DataFrame:
    """One row: the five metrics, the number of prompts, and how often each convention applied.

    A response's score is the mean of its parsed scores. A prompt is left out if people gave all its
    responses the same rank. A pair is two responses to one prompt that people rank differently.

    - `pairwise_accuracy`, %: the pairs in which the better response has the higher score. A tie or
      a missing score counts as wrong.
    - `five_best`, %: of the responses with a score of exactly 5, the share that people ranked
      first. NaN if no response has a 5.
    - `exact_match`, %: the prompts in which every pair has the same order as people gave it.
    - `spearman`, `kendall` (tau-b): the correlation of scores and ranks, mean over prompts.
      Responses without a score are left out. A prompt whose remaining scores or ranks are all equal
      counts as 0.
    - `n`: prompts. `pairs`, `tied_pairs`, `unscored_pairs`, `fives`, `unordered_prompts` (which
      count as 0 in the correlations) and `unscored_responses`: how often each convention applied.
    - `parse_rate`: the share of the judgements that have a score.
    """
    read = merge_attempts(reparse(eft_eval_judgements))
    scored = _with_different_ranks(_scored(eft_eval, read))
    pairs = _ranked_pairs(scored)
    fives = scored[scored["score"] == _TOP]
    correlations = _correlations(scored)
    right = pairs["better"] > pairs["worse"]
    row = {
        "model": eft_eval_judgements["model"].iloc[0] if len(eft_eval_judgements) else "",
        "pairwise_accuracy": 100 * right.mean(),
        "five_best": 100 * fives["first"].mean(),
        "exact_match": 100 * right.groupby(pairs["prompt_id"]).all().mean(),
        "spearman": correlations["spearman"].fillna(0.0).mean(),
        "kendall": correlations["kendall"].fillna(0.0).mean(),
        "n": scored["prompt_id"].nunique(),
        "pairs": len(pairs),
        "tied_pairs": int((pairs["better"] == pairs["worse"]).sum()),
        "unscored_pairs": int(pairs[["better", "worse"]].isna().any(axis=1).sum()),
        "fives": len(fives),
        "unordered_prompts": int(correlations["kendall"].isna().sum()),
        "unscored_responses": int(scored["score"].isna().sum()),
        "parse_rate": read["score"].notna().mean(),
    }
    return pd.DataFrame([row])


def ranked_pairs(eft_eval: pd.DataFrame, judgements: pd.DataFrame) -> pd.DataFrame:
    """The pairs by which `measure_reward_modelling` measures a judge, with their texts.

    Columns: `prompt_id`, `better` and `worse` (the scores), `better_text` and `worse_text`.
    """
    scored = _scored(eft_eval, merge_attempts(reparse(judgements)))
    return _ranked_pairs(_with_different_ranks(scored), texts=True)


def _scored(eft_eval: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """The responses with the mean of their scores."""
    means = read.groupby("response_id")["score"].mean()
    # The last bits of a mean depend on the order of the sum. They must not break a tie.
    score = means.reindex(eft_eval["response_id"]).round(_DIGITS).set_axis(eft_eval.index)
    return eft_eval.assign(score=score)


def _with_different_ranks(scored: pd.DataFrame) -> pd.DataFrame:
    """The prompts with at least two different ranks; `first` marks the responses ranked first."""
    ranks = scored.groupby("prompt_id")["rank"]
    kept = scored.assign(first=scored["rank"] == ranks.transform("min"))
    return kept[ranks.transform("nunique") > 1]


def _ranked_pairs(scored: pd.DataFrame, texts: bool = False) -> pd.DataFrame:
    """The scores of the `better` and the `worse` response of each pair; if asked for, the texts."""
    columns = scored[["prompt_id", "rank", "score", *(["response"] if texts else [])]]
    both = columns.merge(columns, on="prompt_id", suffixes=("_better", "_worse"))
    both = both[both["rank_better"] < both["rank_worse"]]
    names = {"score_better": "better", "score_worse": "worse"}
    names |= {"response_better": "better_text", "response_worse": "worse_text"} if texts else {}
    return both.rename(columns=names)[["prompt_id", *names.values()]]


def _correlations(scored: pd.DataFrame) -> pd.DataFrame:
    """Spearman and Kendall for each prompt; NaN if all scores or all ranks are equal."""
    from scipy import stats

    rows = []
    for _, group in scored.groupby("prompt_id", sort=False):
        known = group[group["score"].notna()]
        if known["score"].nunique() < 2 or known["rank"].nunique() < 2:
            rows.append((float("nan"), float("nan")))
            continue
        quality = -known["rank"]
        spearman = stats.spearmanr(quality, known["score"]).statistic
        kendall = stats.kendalltau(quality, known["score"]).statistic
        rows.append((float(spearman), float(kendall)))
    return pd.DataFrame(rows, columns=["spearman", "kendall"], dtype=float)
