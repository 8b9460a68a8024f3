"""The parameters `loop`: who does what in the loop, and how often."""

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
    world: Literal["microworld", "verifiable", "given"] = "microworld"
    """Where M0 and the texts come from. `microworld`: the embedded microworld. `verifiable`: your
    own model, and instructions whose constraints a program can check. `given`: your own model and
    seed data. conf/ names the folder of your `m0.model`."""
    pretrain: bool = False
    """True: the run trains the microworld's M0 from its corpus with the run's seed, which takes
    some minutes. False: the run uses the M0 that comes with the project, as the paper uses Llama 2.
    """
    seed_data: Literal["files", "oasst"] = "files"
    """Where IFT, EFT and the held-out prompts come from. `files`: the catalog's tables. `oasst`: a
    selection from the catalog's `oasst_messages`."""
    eft: Literal["baseline", "ranking", "labels", "none"] = "baseline"
    """What M1 learns to judge from. `baseline`: judgements by the SFT baseline that agree with
    people (paper). `ranking`: people's ranks turned into scores, for models that cannot follow the
    rubric before they are trained on it. `labels`: the seed data say which criteria each response
    meets; only with `judge_form: criteria`. `none`: nothing (the paper's ablation)."""
    judge_form: Literal["worded", "criteria"] = "worded"
    """How every judge is asked. `worded`: it writes a judgement that ends with a score, by the
    catalog's `judge_prompt` (paper). `criteria`: it is asked one criterion at a time, and its
    probability of the wanted answer is the point, by the catalog's `criteria_prompt`."""
    reward: Literal["judge", "checked", "both"] = "judge"
    """What rewards the responses. `judge`: the judge (paper). `checked`: the catalog's `checker`, a
    referee that knows the true score. `both`: the mean of the two."""
    prompt_generator: Literal["current", "m0", "fixed"] = "current"
    """Who writes the new prompts. `current`: M_(t-1). `m0`: always M0. `fixed`: always the
    catalog's `prompt_generator.model`.

    Paper: a fixed one in the main runs, the current one in appendix A.5.
    """
    judge: Literal["current", "m1", "external"] = "current"
    """Who judges the responses. `current`: M_(t-1) (paper). `m1`: M1 in every iteration, the
    control with a frozen judge. `external`: the catalog's `judge.model` through its
    `external_judge_engine`, the classical baseline."""
    update: Literal["dpo", "positives"] = "dpo"
    """How M_t learns. `dpo`: DPO on pairs (paper). `positives`: SFT on the responses with a full
    score (the paper's ablation)."""
    when_worse: Annotated[Literal["go_on", "stop", "best", "off"], BeforeValidator(_off)] = "go_on"
    """What follows when M_t is worse than the model before it on the validation prompts, by more
    than `rollback.margin`. `go_on`: M_(t+1) is made from M_t all the same (paper). `stop`: the run
    stops. `best`: M_(t+1) is made from the best model so far. `off`: the models are not compared.
    """
    compared_by: Literal["m1", "external"] = "m1"
    """Who judges all models' answers to the validation prompts. `m1`: M1. `external`: the catalog's
    `judge.model` through its `external_judge_engine` (paper: Claude 2, for early stopping)."""
    eval_sets: tuple[
        Literal["eval_prompts", "alpaca_eval_set", "mt_bench_questions", "ifeval_prompts"], ...
    ] = Field(("eval_prompts",), min_length=1)
    """The evaluation sets in use. `contamination` compares training data with them.
    `ifeval_prompts` is left out as long as its file is not there."""
    study: bool = True
    """True: the run measures what each stage did: prompts, judge, ties, pairs, movement (ours).
    False: it does not, and no model judges its own answers."""
    soft_labels: bool = False
    """True: DPO softens the labels of the pairs as far as M_(t-1) and M_(t-2) disagree on the order
    of the responses. The SFT baseline takes the place of M0, which cannot judge.
    Source: CREAM (2410.12735)."""

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> "LoopParams":
        if self.soft_labels and (self.judge != "current" or self.update != "dpo"):
            raise ValueError("`soft_labels` need `judge: current` and `update: dpo`")
        if self.soft_labels and self.when_worse == "best":
            # After a step back both judges are the same model, and always agree.
            raise ValueError("`soft_labels` cannot be used with `when_worse: best`")
        if self.pretrain and self.world != "microworld":
            raise ValueError(
                f"`pretrain` makes the microworld's M0, and `world: {self.world}` has one"
            )
        if self.judge_form == "criteria" and self.eft == "ranking":
            raise ValueError(
                "`eft: ranking` makes scores, and `judge_form: criteria` learns answers to single "
                "criteria; use `eft: labels` or `eft: baseline`"
            )
        if self.judge_form == "worded" and self.eft == "labels":
            raise ValueError("`eft: labels` needs `judge_form: criteria`")
        if self.eft == "labels" and self.seed_data == "oasst":
            raise ValueError("`eft: labels` needs `points`, which OASST does not have")
        if self.soft_labels and self.reward != "judge":
            raise ValueError("`soft_labels` compare two judges: `reward` must be judge")
        if self.reward == "checked" and self.judge != "current":
            raise ValueError(
                f"`reward: checked` asks no judge, so `judge: {self.judge}` would have no effect; "
                "use `reward: judge` or `reward: both`"
            )
        by_criteria = self.judge_form == "criteria" and self.reward != "checked"
        if self.update == "positives" and by_criteria:
            raise ValueError(
                "`update: positives` trains on responses of full reward, and by `judge_form: "
                "criteria` none has it, because its points are probabilities"
            )
        if self.update == "positives" and self.eft == "none":
            raise ValueError("`update: positives` trains on EFT too: `eft` cannot be none")
        return self
