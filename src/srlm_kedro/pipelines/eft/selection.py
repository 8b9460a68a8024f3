"""Which of the baseline's judgements become examples. Paper: section 3.1, EFT seed data.

Apart from the judging itself, so that a better parser needs no new judgement.
"""

import random

import pandas as pd

from srlm_kedro.errors import GateError
from srlm_kedro.judge import parsing
from srlm_kedro.judge.judgements import reparse
from srlm_kedro.judge.prompt import fill_judge_prompt
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.records import derive_seed

COLUMNS = ["prompt_id", "response_id", "prompt", "completion", "score", "rank"]


def select_eft(
    eft_pool: pd.DataFrame,
    judgements: pd.DataFrame,
    judge_prompt: str,
    eft: EftParams,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Judge prompts with the judgements that agree with the human ranking, and counts.

    A completion is the judge's raw text as it is: justification, then score.

    Raises:
        GateError: Fewer than `min_kept` examples are left.
    """
    table = eft_pool.merge(reparse(judgements), on="response_id", validate="one_to_many")
    fault = _faults(table, eft)
    sound = table[fault.isna()]
    agrees = agreeing(sound, eft.agreement)
    agreed = sound[agrees].drop_duplicates(["response_id", "text"])
    kept = thinned(agreed, seed) if eft.thin_commonest else agreed
    if len(kept) < eft.min_kept:
        raise GateError(
            f"eft: {len(kept)} of {len(table)} judgements are left as examples (limit "
            f"`eft.min_kept` = {eft.min_kept}): {int(fault.notna().sum())} are unsound, "
            f"{int((~agrees).sum())} do not agree with the human ranking. Read the judgements."
        )
    counts = fault.value_counts()
    reasons = [reason for reason in parsing.REASONS if reason != "ok"]
    metrics = {
        "eft/judgements": float(len(table)),
        "eft/kept": float(len(kept)),
        "eft/kept_share": len(kept) / len(table),
        "eft/agreeing_share": float(agrees.mean()) if len(sound) else 0.0,
        **{
            f"eft/dropped_{name}": float(counts.get(name, 0))
            for name in ("no_room", "bare", "runs_on")
        },
        **{f"eft/unparsed_{reason}": float(counts.get(reason, 0)) for reason in reasons},
        "eft/dropped_disagreeing": float((~agrees).sum()),
        "eft/dropped_duplicate": float(agrees.sum() - len(agreed)),
        "eft/dropped_thinned": float(len(agreed) - len(kept)),
        **{f"eft/score_{n}": float((kept["score"].round() == n).sum()) for n in range(6)},
    }
    return _examples(kept, judge_prompt), metrics


def agreeing(judged: pd.DataFrame, rule: str) -> pd.Series:
    """True for judgements whose score agrees with the human ranking of the prompt's responses.

    One set is the k-th judgement of each response to a prompt. Two responses that people ranked
    equal say nothing. The paper does not say more than that the ranking must agree; two readings:

    - `example`: no response of the set that people ranked lower scores higher, none ranked higher
      scores lower, and at least one ordering of people's is met strictly.
    - `set`: every ordering of people's within the set is met strictly; all of it or nothing.

    Args:
        judged: `prompt_id`, `k`, `rank` (0 best), `score` (no NaN).
        rule: `example` or `set`.
    """
    agrees = pd.Series(False, index=judged.index)
    for _, rows in judged.groupby(["prompt_id", "k"], sort=False):
        agrees[rows.index] = _set_agrees(rows["rank"].tolist(), rows["score"].tolist(), rule)
    return agrees


def thinned(examples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The commonest score cut down, by drawing, to the number of the second commonest."""
    counts = examples["score"].value_counts()
    if len(counts) < 2 or counts.iloc[0] == counts.iloc[1]:
        return examples
    commonest = examples.index[examples["score"] == counts.index[0]].tolist()
    rng = random.Random(derive_seed(seed, "eft thinning"))
    return examples.drop(rng.sample(commonest, int(counts.iloc[0] - counts.iloc[1])))


def _set_agrees(ranks: list[int], scores: list[float], rule: str) -> list[bool]:
    """Per judgement of one set, by what its orderings with the others are worth."""
    judgements = list(zip(ranks, scores, strict=True))
    met = [
        [
            (rank < other_rank) - (rank > other_rank) == (score > other) - (score < other)
            if rule == "set"
            else _ordering(rank - other_rank, other - score)
            for other_rank, other in judgements
            if rank != other_rank
        ]
        for rank, score in judgements
    ]
    if rule == "set":
        whole = any(met) and all(all(own) for own in met)
        return [whole] * len(met)
    return [1 in own and -1 not in own for own in met]


def _ordering(ranked: int, scored: float) -> int:
    """1 when people and scores order two responses alike, -1 when contrary, 0 for equal scores."""
    if scored == 0:
        return 0
    return 1 if (ranked > 0) == (scored > 0) else -1


def _faults(table: pd.DataFrame, eft: EftParams) -> pd.Series:
    """What makes a judgement no example, whatever its score; None for sound ones."""
    fault = table["reason"].where(table["reason"] != "ok", None)
    fault = fault.mask(table["finish"] == "no_room", "no_room")
    bare = fault.isna() & (table["text"].str.split().str.len() < eft.min_words)
    fault = fault.mask(bare, "bare")
    # A text that never ended would teach not to end.
    return fault.mask(fault.isna() & (table["finish"] == "length"), "runs_on")


def _examples(kept: pd.DataFrame, judge_prompt: str) -> pd.DataFrame:
    filled = [
        fill_judge_prompt(judge_prompt, row.prompt, row.response) for row in kept.itertuples()
    ]
    table = kept.assign(prompt=filled, completion=kept["text"])
    return table[COLUMNS].reset_index(drop=True)
