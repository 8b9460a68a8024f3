"""The algorithm on one page: M0 -> M1 -> M2 -> ... -> MT. Paper: sections 2 and 3.1."""

from typing import Literal

from kedro.pipeline import Pipeline
from pydantic import Field, model_validator

from srlm_kedro.params import Params
from srlm_kedro.pipelines import checks, eft, ift, microworld, reporting, sft
from srlm_kedro.pipelines.iteration import create_evaluation_pipeline, create_pipeline, named


class LoopParams(Params):
    """The shape of the loop."""

    iterations: int = Field(3, ge=1)
    """T: `kedro run` makes M1 to M_T (paper: 3)."""
    world: Literal["microworld", "given"] = "microworld"
    """Who makes M0: the embedded microworld, or nobody (`m0.model` lies where conf/ says)."""
    seed_data: Literal["files", "oasst"] = "files"
    """Where IFT, EFT and the held-out prompts come from: the catalog's tables, or a selection out
    of its `oasst_messages`."""
    eft: Literal["baseline", "ranking", "none"] = "baseline"
    """What M1 learns to judge from: judgements of the SFT baseline that agree with people (paper),
    people's ranks as scores, for models that cannot follow the rubric unseen, or nothing (the
    paper's ablation)."""
    prompt_generator: Literal["current", "m0", "fixed"] = "current"
    """Who writes the new prompts: M_(t-1), or M0 or the catalog's `prompt_generator.model` always.

    Paper: a fixed one in the main runs, the current one in appendix A.5.
    """
    judge: Literal["current", "m1", "external"] = "current"
    """Who judges: M_(t-1) (paper), M1 in every iteration (the frozen-judge control), or the
    catalog's `judge.model` through its `external_judge_engine` (the classical baseline)."""
    update: Literal["dpo", "positives"] = "dpo"
    """How M_t learns: DPO on pairs (paper), or SFT on responses of full score (its ablation)."""
    soft_labels: bool = False
    """Pairs count by how far M_(t-1) and M_(t-2) agree on the order of the responses; the SFT
    baseline stands in for M0, which cannot judge. Source: CREAM (2410.12735)."""

    @model_validator(mode="after")
    def _two_judges_and_pairs(self) -> "LoopParams":
        if self.soft_labels and (self.judge != "current" or self.update != "dpo"):
            raise ValueError("`soft_labels` need `judge: current` and `update: dpo`")
        return self


def foundation(loop: LoopParams) -> Pipeline:
    """M0, the SFT baseline, EFT written by the baseline, and M1."""
    made_here = loop.world == "microworld"
    m0 = named(microworld.create_pipeline(), "m0", {}) if made_here else Pipeline([])
    baseline = named(sft.create_baseline_pipeline(), "sft", {"base": "m0.model"})
    judged = eft.create_ranking_pipeline() if loop.eft == "ranking" else eft.create_pipeline()
    evaluated = named(judged, "eft", {"baseline": "sft.model"})
    checked = named(checks.create_seed_pipeline(), "seed", {})
    return ift.create_pipeline() + checked + m0 + baseline + evaluated + _m1(loop)


def step(t: int, loop: LoopParams) -> Pipeline:
    """Iteration t: M_t from M_(t-1)."""
    current = f"m{t - 1}.model"
    writers = {"current": current, "m0": "m0.model", "fixed": "prompt_generator.model"}
    judges = {"current": current, "m1": "m1.model", "external": "judge.model"}
    wiring = {
        "writer": writers[loop.prompt_generator],
        "judge": judges[loop.judge],
        "judge_engine": f"{'external_judge' if loop.judge == 'external' else 'generation'}_engine",
    }
    return create_pipeline(t, wiring, update=loop.update, soft_labels=loop.soft_labels)


def measure(last: int) -> Pipeline:
    """Evaluation of the baseline and M1 to M_last, and the report on them."""
    models = ["sft", *(f"m{t}" for t in range(1, last + 1))]
    evaluations = sum((create_evaluation_pipeline(model) for model in models), Pipeline([]))
    return evaluations + reporting.create_pipeline(models)


def self_rewarding(loop: LoopParams) -> Pipeline:
    """All of it: M0, M1, ..., M_T, evaluation, report."""
    steps = sum((step(t, loop) for t in range(2, loop.iterations + 1)), Pipeline([]))
    return foundation(loop) + steps + measure(loop.iterations)


def iteration(t: int, newest: int, loop: LoopParams) -> Pipeline:
    """One model further: M_t, on top of what lies on disk up to M_newest.

    What an empty project lacks (M0, M1) is made first.
    """
    groundwork = foundation(loop) if (t <= 2 and newest == 0) or t == 1 else Pipeline([])
    made = step(t, loop) if t > 1 else Pipeline([])
    return groundwork + made + measure(t)


def compose(loop: LoopParams) -> dict[str, Pipeline]:
    """The pipelines that depend on the shape of the loop, by the names users run them with."""
    return {
        "__default__": self_rewarding(loop),
        "foundation": foundation(loop),
        "iteration": iteration(2, 0, loop),
        "evaluation": measure(loop.iterations),
    }


def _m1(loop: LoopParams) -> Pipeline:
    if loop.eft != "none":
        wiring = {"base": "m0.model", "eft_train": "eft.eft_train"}
        return named(sft.create_m1_pipeline(), "m1", wiring)
    return named(sft.create_baseline_pipeline(), "m1", {"base": "m0.model"})
