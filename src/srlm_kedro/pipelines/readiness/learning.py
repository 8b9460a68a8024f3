"""What training would get: examples of EFT, and steps of SFT and DPO."""

import pandas as pd

from srlm_kedro.engines.training.params import DpoParams, SftParams, TuningParams
from srlm_kedro.errors import InputError
from srlm_kedro.judge.criteria import CriteriaPrompt, JudgePrompt
from srlm_kedro.pipelines.eft.labels import select_labelled
from srlm_kedro.pipelines.eft.nodes import rank_as_judged, split_eft
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.eft.selection import select_eft
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.readiness.measures import Figures


def expect_eft(
    eft_ranked: pd.DataFrame,
    ift: pd.DataFrame,
    rankings: pd.DataFrame,
    judgements: pd.DataFrame,
    judge_prompt: JudgePrompt,
    criteria_prompt: CriteriaPrompt,
    loop: LoopParams,
    eft: EftParams,
    seed: int,
) -> Figures:
    """The examples that EFT would leave, by `loop.eft`.

    With `ranking` and `labels` no model is asked, so the number is exact. With `baseline` the share
    that is kept of the judged rankings is taken for all of the seed data. `thin_commonest` works on
    the sample as it would on all.

    Args:
        eft_ranked: All ranked responses.
        ift: IFT.
        rankings: The ranked responses that were judged.
        judgements: Their judgements in the loop's form; empty if it could not be asked.
        judge_prompt: What the loop's judge is asked.
        criteria_prompt: What it is asked by criteria.
        loop: Who does what.
        eft: The rules.
        seed: Of the run.
    """
    if loop.eft == "none":
        return {"exact": True, "examples": 0, "kept_share": None, "reasons": {}, "refused": ""}
    pool, _ = split_eft(eft_ranked, ift, eft, seed)
    open_end = eft.model_copy(update={"min_kept": 0})
    exact = loop.eft != "baseline"
    if loop.eft == "labels":
        try:
            examples, metrics = select_labelled(pool, criteria_prompt, open_end, seed)
        except InputError as error:
            return {"exact": True, "examples": 0, "kept_share": 0.0, "refused": str(error)}
    elif exact:
        examples, metrics = select_eft(pool, rank_as_judged(pool), judge_prompt, open_end, seed)
    elif not len(judgements):
        refused = "the judge could not be asked in the loop's form"
        return {"exact": False, "examples": 0, "kept_share": 0.0, "refused": refused}
    else:
        once = judgements[judgements["k"] == 0]
        examples, metrics = select_eft(rankings, once, judge_prompt, open_end, seed)
    scale = 1.0 if exact else len(pool) / len(rankings) * _draws(judgements, eft)
    marks = ("eft/dropped_", "eft/unparsed_")
    return {
        "exact": exact,
        "examples": round(len(examples) * scale),
        "kept_share": metrics["eft/kept_share"],
        "judgements": int(metrics["eft/judgements"]),
        "reasons": {
            name.partition("_")[2]: int(count)
            for name, count in metrics.items()
            if name.startswith(marks) and count
        },
        "refused": "",
    }


def expect_trainings(
    ift: pd.DataFrame,
    eft_figures: Figures,
    answer_figures: Figures,
    writing_figures: Figures,
    sft: SftParams,
    dpo: DpoParams,
) -> dict[str, Figures]:
    """The trainings of the SFT baseline, of M1, and of the next model: rows, steps, a warning."""
    pairs = writing_figures["expected"] * answer_figures["pair_yield"]
    return {
        "sft": _steps(sft, len(ift)),
        "m1": _steps(sft, len(ift) + eft_figures["examples"]),
        "next": _steps(dpo, pairs),
    }


def _steps(params: TuningParams, rows: float) -> Figures:
    figures = {"rows": round(rows), "of": params.ROWS, "steps": params.steps(rows)}
    return figures | {"few": params.too_few_steps(rows)}


def _draws(judgements: pd.DataFrame, eft: EftParams) -> int:
    """Judgements of a response in EFT; by criteria there is one."""
    return 1 if "log_yes" in judgements else eft.sampling.n
