"""The shape of the loop: who makes what, and how often."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from srlm_kedro.params import Params


def _off(value: Any) -> Any:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class LoopParams(Params):
    """The shape of the loop."""

    iterations: int = Field(3, ge=1, le=1000)
    """T: `kedro run` makes M1 to M_T (paper: 3)."""
    world: Literal["microworld", "given"] = "microworld"
    """Whose texts these are: the embedded microworld's, or those of a model and seed data that are
    given (`m0.model` lies where conf/ says)."""
    pretrain: bool = False
    """Makes the microworld's M0 from its corpus with the run's seed, some minutes of work. `false`
    takes the M0 that comes with the project, as the paper takes Llama 2."""
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
    when_worse: Annotated[Literal["go_on", "stop", "best", "off"], BeforeValidator(_off)] = "go_on"
    """What follows when M_t is worse than the model before it on the validation prompts, by more
    than `rollback.margin`: M_(t+1) is made from it all the same (paper), the run stops, or M_(t+1)
    is made from the best so far. With `off` the models are not compared."""
    compared_by: Literal["m1", "external"] = "m1"
    """Who judges the validation answers, of all models alike: M1, or the catalog's `judge.model`
    through its `external_judge_engine` (paper: Claude 2, for early stopping)."""
    eval_sets: tuple[Literal["eval_prompts", "alpaca_eval_set", "mt_bench_questions"], ...] = Field(
        ("eval_prompts",), min_length=1
    )
    """Evaluation sets in use, which training data is held against (`contamination`)."""
    study: bool = True
    """What each stage did is told apart: prompts, judge, ties, pairs, movement (ours). `false`
    leaves that out, and with it a judging of each model's own answers."""
    soft_labels: bool = False
    """Pairs count by how far M_(t-1) and M_(t-2) agree on the order of the responses; the SFT
    baseline stands in for M0, which cannot judge. Source: CREAM (2410.12735)."""

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "LoopParams":
        if self.soft_labels and (self.judge != "current" or self.update != "dpo"):
            raise ValueError("`soft_labels` need `judge: current` and `update: dpo`")
        if self.soft_labels and self.when_worse == "best":
            # After a step back both judges are one model, and agree.
            raise ValueError("`soft_labels` do not go with `when_worse: best`")
        if self.pretrain and self.world == "given":
            raise ValueError("`pretrain` makes the microworld's M0, and `world: given` has one")
        if self.update == "positives" and self.eft == "none":
            raise ValueError("`update: positives` trains on EFT too: `eft` cannot be none")
        return self
