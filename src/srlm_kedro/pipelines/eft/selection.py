"""Which of the baseline's judgements become examples. Paper: section 3.1, EFT seed data.

This is apart from the judging, so that a better parser needs no new judgement.
"""

import logging
import random

import pandas as pd

from srlm_kedro.errors import GateError
from srlm_kedro.judge import refusals
from srlm_kedro.judge.criteria import CriteriaPrompt, JudgePrompt, examples_of, filled
from srlm_kedro.judge.judgements import reparse
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.records import derive_seed

_log = logging.getLogger(__name__)

COLUMNS = ["prompt_id", "response_id", "prompt", "completion", "score", "rank"]


def select_eft(
    eft_pool: pd.DataFrame,
    judgements: pd.DataFrame,
    judge_prompt: JudgePrompt,
    eft: EftParams,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Filled judge prompts with the judgements that agree with the human ranking, and counts.

    A completion is the judge's raw text: justification, then score.

    Raises:
        GateError: Fewer than `min_kept` examples are left.
    """
    table = eft_pool.merge(reparse(judgements), on="response_id", validate="one_to_many")
    fault = _faults(table, eft)
    usable = table[fault.isna()]
    agrees = agreeing(usable, eft.agreement)
    agreed = usable[agrees].drop_duplicates(["response_id", "text"])
    by_criteria = isinstance(judge_prompt, CriteriaPrompt)
    thin = eft.thin_commonest and not by_criteria
    kept = thinned(agreed, seed) if thin else agreed
    counts = {
        **fault.value_counts().to_dict(),
        "disagreeing": int((~agrees).sum()),
        "duplicate": int(agrees.sum()) - len(agreed),
        "thinned": len(agreed) - len(kept),
    }
    if len(kept) < eft.min_kept:
        raise GateError(_too_few(len(kept), len(table), counts, eft, by_criteria))
    _log.info(
        "eft: %d of %d judgements are left as examples. Of no use: %s.",
        *(len(kept), len(table), refusals.in_words(counts)),
    )
    unparsed = refusals.UNPARSED + (refusals.UNANSWERED if by_criteria else ())
    metrics = {
        "eft/judgements": float(len(table)),
        "eft/kept": float(len(kept)),
        "eft/kept_share": len(kept) / len(table),
        "eft/agreeing_share": float(agrees.mean()) if len(usable) else 0.0,
        **{
            f"eft/dropped_{name}": float(counts.get(name, 0))
            for name in ("no_room", "bare", "runs_on")
        },
        **{f"eft/unparsed_{name}": float(counts.get(name, 0)) for name in unparsed},
        **{
            f"eft/dropped_{name}": float(counts[name])
            for name in ("disagreeing", "duplicate", "thinned")
        },
        **{f"eft/score_{n}": float((kept["score"].round() == n).sum()) for n in range(6)},
    }
    return _examples(kept, judge_prompt), metrics


def _too_few(
    kept: int, judgements: int, counts: dict[str, int], eft: EftParams, by_criteria: bool
) -> str:
    limit = eft.sampling.max_new_tokens
    return (
        f"eft: {kept} of {judgements} judgements are left as examples (limit `eft.min_kept` = "
        f"{eft.min_kept}). Of no use: {refusals.in_words(counts)}. "
        f"{refusals.advice(counts, 'eft.sampling', limit, by_criteria)} All judgements are kept "
        "in `eft.judgements`: read some."
    )


def agreeing(judged: pd.DataFrame, rule: str) -> pd.Series:
    """True for judgements whose score agrees with the human ranking of the prompt's responses.

    A set is the k-th judgements of all responses to one prompt. Responses that people ranked equal
    are not compared. The paper only says that the ranking must agree. There are two rules:

    - `example`: a judgement agrees if its response and each other one of the set are not scored in
      the opposite order of their ranks, and at least one of them is scored in the same order.
    - `set`: all judgements of the set agree if all responses are scored in the order of their
      ranks, without a tie. Otherwise none agrees.

    Args:
        judged: `prompt_id`, `k`, `rank` (0 best), `score` (no NaN).
        rule: `example` or `set`.
    """
    agrees = pd.Series(False, index=judged.index)
    for _, rows in judged.groupby(["prompt_id", "k"], sort=False):
        agrees[rows.index] = _set_agrees(rows["rank"].tolist(), rows["score"].tolist(), rule)
    return agrees


def thinned(examples: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Examples without some of those with the commonest score.

    They are dropped at random until they are as many as those with the second commonest score.
    """
    counts = examples["score"].value_counts()
    if len(counts) < 2 or counts.iloc[0] == counts.iloc[1]:
        return examples
    commonest = examples.index[examples["score"] == counts.index[0]].tolist()
    rng = random.Random(derive_seed(seed, "eft thinning"))
    return examples.drop(rng.sample(commonest, int(counts.iloc[0] - counts.iloc[1])))


def _set_agrees(ranks: list[int], scores: list[float], rule: str) -> list[bool]:
    """Whether each judgement of one set agrees, by its order with each of the others."""
    judgements = list(zip(ranks, scores, strict=True))
    orders = [
        [
            _order(rank - other_rank, other - score)
            for other_rank, other in judgements
            if rank != other_rank
        ]
        for rank, score in judgements
    ]
    if rule == "set":
        found = [order for row in orders for order in row]
        return [bool(found) and set(found) == {1}] * len(judgements)
    return [1 in row and -1 not in row for row in orders]


def _order(ranked: int, scored: float) -> int:
    """1 if ranks and scores have the same order, -1 if the opposite one, 0 for equal scores."""
    if scored == 0:
        return 0
    return 1 if (ranked > 0) == (scored > 0) else -1


def _faults(table: pd.DataFrame, eft: EftParams) -> pd.Series:
    """Why a judgement cannot be an example, whatever its score; None if it can."""
    in_words = "log_yes" not in table
    least = eft.min_words if in_words else 0
    found = [
        refusals.fault_of(reason, text, finish, least)
        for reason, text, finish in zip(
            refusals.reasons_of(table), table["text"], table["finish"], strict=True
        )
    ]
    fault = pd.Series(found, index=table.index, dtype=object)
    return fault.where(fault != "ok", None)


def _examples(kept: pd.DataFrame, judge_prompt: JudgePrompt) -> pd.DataFrame:
    if isinstance(judge_prompt, CriteriaPrompt):
        return _criteria_examples(kept, judge_prompt)
    asked = [filled(judge_prompt, row.prompt, row.response)[0] for row in kept.itertuples()]
    table = kept.assign(prompt=asked, completion=kept["text"])
    return table[COLUMNS].reset_index(drop=True)


def _criteria_examples(kept: pd.DataFrame, prompt: CriteriaPrompt) -> pd.DataFrame:
    """The judge's own answer to each criterion, as an example of one token."""
    rows = [
        (row["prompt_id"], row["response_id"], asked, answer, row["score"], row["rank"], False)
        for row in kept.to_dict("records")
        for asked, answer in examples_of(row, prompt)
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "complete"])
