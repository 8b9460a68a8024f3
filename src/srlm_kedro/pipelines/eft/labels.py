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
_REMEDY = (
    "With `loop.eft: labels` each ranked response says by `points` which criteria it meets, in "
    "their order (docs/reference/seed-data.md). Give all of them `points`, or choose `loop.eft: "
    "baseline`, which needs none"
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
        raise InputError(summary("eft: no examples can be made.", faults))
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
    """What is wrong with the points of ranked responses.

    One line says how many responses have none, and one for each other response that its points do
    not fit the criteria.

    Args:
        ranked: Ranked responses, as `prepare_eft` gives them.
        criteria_prompt: Knows the criteria for each prompt.
    """
    faults, missing = [], []
    for row in ranked.itertuples():
        points = getattr(row, "points", None)
        criteria = criteria_prompt.rubric.criteria(row.prompt)
        if points is None:
            missing.append(row.response_id)
        elif len(points) != len(criteria):
            faults.append(
                f"eft_seed, response {row.response_id}: it has {len(points)} points, and the "
                f"judge has {len(criteria)} criteria for its prompt"
            )
    if missing:
        count = f"{len(missing):,} of {len(ranked):,} ranked responses have no `points`"
        faults.insert(0, f"eft_seed: {count} (the first is {missing[0]}). {_REMEDY}")
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
