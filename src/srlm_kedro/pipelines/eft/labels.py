"""EFT from seed data that say which criteria each response meets: no model judges them."""

import random

import pandas as pd

from srlm_kedro.errors import GateError, InputError, summary
from srlm_kedro.judge.criteria import CriteriaPrompt
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.records import derive_seed

COLUMNS = [
    *("prompt_id", "response_id", "prompt", "completion", "score", "rank", "complete", "kind"),
]
"""`complete` is False: only the answer's first token is trained on, for only it is read."""
_RULE = (
    "with `loop.eft: labels` every ranked response says whether it meets each criterion, in their "
    "order (otherwise use `loop.eft: baseline`)."
)


def select_labelled(
    eft_pool: pd.DataFrame, criteria_prompt: CriteriaPrompt, eft: EftParams, seed: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """One example for each criterion of each response: the question, and `Yes` or `No`.

    Of each kind of criterion as many examples are answered yes as no, at most `eft.per_answer` of
    each, drawn at random: a judge must not learn which answer is commoner.

    Raises:
        InputError: Responses without points, or with another number of points than criteria.
        GateError: Fewer than `min_kept` examples are left.
    """
    if faults := label_faults(eft_pool, criteria_prompt):
        raise InputError(summary(f"eft: {len(faults)} faults; {_RULE}", faults))
    examples = pd.DataFrame(_examples(eft_pool, criteria_prompt), columns=[*COLUMNS, "is_yes"])
    kept = _balanced(examples, eft.per_answer, seed)
    if len(kept) < eft.min_kept:
        raise GateError(
            f"eft: {len(kept)} of {len(examples)} labelled criteria are left as examples (limit "
            f"`eft.min_kept` = {eft.min_kept}): of each kind of criterion, as many answers must be "
            "yes as no. Give more ranked responses."
        )
    counts = kept["kind"].value_counts()
    return kept[COLUMNS].reset_index(drop=True), {
        "eft/judgements": float(len(examples)),
        "eft/dropped_unbalanced": float(len(examples) - len(kept)),
        "eft/kept": float(len(kept)),
        "eft/kept_share": len(kept) / max(len(examples), 1),
        **{f"eft/kind_{kind}": float(count) for kind, count in sorted(counts.items())},
    }


def label_faults(ranked: pd.DataFrame, criteria_prompt: CriteriaPrompt) -> list[str]:
    """Responses whose points are missing or do not fit the criteria, one line each.

    Args:
        ranked: Ranked responses, as `prepare_eft` gives them.
        criteria_prompt: Knows the criteria for each prompt.
    """
    faults = []
    for row in ranked.itertuples():
        points = getattr(row, "points", None)
        criteria = criteria_prompt.rubric.criteria(row.prompt)
        if points is None:
            faults.append(f"eft_seed, response {row.response_id}: it has no `points`")
        elif len(points) != len(criteria):
            faults.append(
                f"eft_seed, response {row.response_id}: it has {len(points)} points, and the "
                f"judge has {len(criteria)} criteria for its prompt"
            )
    return faults


def _examples(eft_pool: pd.DataFrame, prompt: CriteriaPrompt) -> list[tuple]:
    rows = []
    for row in eft_pool.itertuples():
        criteria = prompt.rubric.criteria(row.prompt)
        for criterion, met in zip(criteria, row.points, strict=True):
            is_yes = bool(met) == criterion.wanted
            answer = prompt.answers.word(is_yes)
            asked = prompt.fill(row.prompt, row.response, criterion)
            names = (row.prompt_id, row.response_id)
            told = (5.0 * met, row.rank, False, criterion.kind)
            rows.append((*names, asked, answer, *told, is_yes))
    return rows


def _balanced(examples: pd.DataFrame, most: int | None, seed: int) -> pd.DataFrame:
    """As many examples of either answer for each kind of criterion, in their first order."""
    rng = random.Random(derive_seed(seed, "eft labels"))
    kept: list[int] = []
    for _, group in examples.groupby("kind", sort=True):
        sides = [group.index[group["is_yes"] == is_yes].tolist() for is_yes in (True, False)]
        number = min(map(len, sides))
        number = number if most is None else min(number, most)
        kept += [place for side in sides for place in rng.sample(side, number)]
    return examples.loc[sorted(kept)]
