"""Who answers better over many prompts: wins, ties and losses, and how sure they are."""

import numpy as np
import pandas as pd

from srlm_kedro.judge.judgements import reparse, settled

_INTERVAL = (2.5, 97.5)


def tally(won: pd.Series, resamples: int, seed: int) -> dict[str, float]:
    """`win`, `tie` and `loss` in %, `n` prompts; `low` and `high` bound win minus loss (95%).

    Shares are taken within each prompt and then over prompts, which the bootstrap resamples:
    the responses to one prompt are no independent cases.

    Args:
        won: 1 (win), 0 (tie) or -1 (loss) a comparison, by prompt; at least one.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    outcomes = pd.DataFrame({"win": won > 0, "tie": won == 0, "loss": won < 0})
    shares = 100 * outcomes.groupby(level=0, sort=False).mean()
    low, high = bootstrap_interval((shares["win"] - shares["loss"]).to_numpy(), resamples, seed)
    mean = {name: float(value) for name, value in shares.mean().items()}
    return {**mean, "n": len(shares), "low": low, "high": high}


def bootstrap_interval(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float]:
    """The 95% percentile interval of the mean of `values`, one a prompt."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), _INTERVAL)
    return float(low), float(high)


METRICS = ("pairwise_accuracy", "five_best", "exact_match", "spearman", "kendall")
_TOP = 5
_DIGITS = 9


def measure_reward_modelling(
    eft_eval: pd.DataFrame, eft_eval_judgements: pd.DataFrame
) -> pd.DataFrame:
    """One row: the five metrics, how many prompts they rest on, and what was no clear case.

    A response's score is the mean of its parsed scores. Prompts whose responses people ranked
    all alike take no part.

    - `pairwise_accuracy`, %: of two responses that people rank apart, the better has the higher
      score. A tie or a missing score counts as wrong.
    - `five_best`, %: of responses scored a perfect 5, the share that people ranked first.
      NaN when there is no 5.
    - `exact_match`, %: prompts in which every pair that people rank apart is ordered so.
    - `spearman`, `kendall` (tau-b): of scores and ranks, mean over prompts. Responses without a
      score are left out; 0 for a prompt whose scores, or what is left, show no order.
    - `n`: prompts. `pairs`, `tied_pairs`, `unscored_pairs`, `fives`, `unordered_prompts` (taken
      as 0 in the correlations), `unscored_responses`: how often each convention applied.
    - `parse_rate`: share of the judgements that carry a score.
    """
    read = settled(reparse(eft_eval_judgements))
    scored = _ordered_by_people(_scored(eft_eval, read))
    pairs = _pairs(scored)
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


def _scored(eft_eval: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    means = read.groupby("response_id")["score"].mean()
    # Sums of decimals differ in the last bit by their order, which must not make an order here.
    score = means.reindex(eft_eval["response_id"]).round(_DIGITS).set_axis(eft_eval.index)
    return eft_eval.assign(score=score)


def _ordered_by_people(scored: pd.DataFrame) -> pd.DataFrame:
    """The prompts with at least two different ranks; `first` marks what people liked best."""
    ranks = scored.groupby("prompt_id")["rank"]
    kept = scored.assign(first=scored["rank"] == ranks.transform("min"))
    return kept[ranks.transform("nunique") > 1]


def _pairs(scored: pd.DataFrame) -> pd.DataFrame:
    """Two responses to one prompt that people rank apart: the scores of `better` and `worse`."""
    columns = scored[["prompt_id", "rank", "score"]]
    both = columns.merge(columns, on="prompt_id", suffixes=("_better", "_worse"))
    both = both[both["rank_better"] < both["rank_worse"]]
    names = {"score_better": "better", "score_worse": "worse"}
    return both.rename(columns=names)[["prompt_id", "better", "worse"]]


def _correlations(scored: pd.DataFrame) -> pd.DataFrame:
    """Spearman and Kendall of each prompt; NaN where scores or ranks show no order."""
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
