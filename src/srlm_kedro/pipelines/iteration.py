"""The stages that turn M_(t-1) into M_t, and what is measured of a model."""

from collections.abc import Collection, Mapping

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines import (
    cards,
    checks,
    contamination,
    dpo,
    evaluation,
    judging,
    pairs,
    prompts,
    reporting,
    responses,
    selection,
    sft,
    study,
)
from srlm_kedro.pipelines.loop import LoopParams

_LEFT_BY_ITERATION = [
    "prompts",
    "responses",
    "judgements",
    "judged_responses",
    "judge_metrics",
    "pair_metrics",
]

_STUDIED = [
    *("model", "eval_scores", "eval_responses"),
    *("prompts", "judged_responses", "pairs", "reward_modelling"),
]

_TOLD_BY_CARDS = [
    *("model", "eval_metrics", "head_to_head", "train_metrics"),
    *("prompt_metrics", "judge_metrics", "pair_metrics", "pairs"),
]


def create_pipeline(t: int, wiring: Mapping[str, str], loop: LoopParams) -> Pipeline:
    """Makes M_t: new prompts, candidates, judgements, pairs, checks, training.

    Paper: sections 2.2 to 2.4.

    Args:
        t: The model to make; 2 is the first.
        wiring: Dataset names of `writer`, `judge` and `judge_engine`.
        loop: The shape of the loop.
    """
    first = t == 2
    guarded = loop.when_worse == "stop" and not first
    stages = (
        prompts.create_pipeline()
        + responses.create_pipeline()
        + judging.create_pipeline()
        + pairs.create_pipeline()
        + checks.create_pipeline()
        + contamination.create_pipeline(loop.eval_sets)
        + _update(loop)
    )
    made = named(
        stages,
        f"m{t}",
        {
            **wiring,
            "policy": current_model(t, loop),
            "policy_checked": f"m{t - 1}.selection_checked" if guarded else "no_metrics",
            "elder_judge": "sft.model" if first else f"m{t - 2}.model",
            "base": "m0.model",
            "eft_train": "eft.eft_train",
            "earlier_prompts": "no_prompts" if first else f"m{t - 1}.known_prompts",
            "previous_judge_metrics": "no_metrics" if first else f"m{t - 1}.judge_metrics",
        },
    )
    return _guard(t - 1) + made if guarded else made


def create_evaluation_pipeline(model: str) -> Pipeline:
    """Measures one model: `sft`, `m1`, `m2`, ...; from M1 on against its elders too."""
    stages = evaluation.create_pipeline() + _described(model)
    wiring = {name: f"{model}.{name}" for name in ["model", *_LEFT_BY_ITERATION]}
    wiring["eft_eval"] = "eft.eft_eval"
    if model != "sft":
        stages += evaluation.create_head_to_head_pipeline()
        elder = "sft" if model == "m1" else f"m{int(model[1:]) - 1}"
        wiring |= {
            "model_scores": f"{model}.eval_scores",
            "previous_scores": f"{elder}.eval_scores",
            "baseline_scores": "sft.eval_scores",
        }
    return named(stages, model, wiring)


def create_selection_pipeline(model: str, wiring: Mapping[str, str], loop: LoopParams) -> Pipeline:
    """Validation answers of one model, `m1`, `m2`, ...; from M2 on held against the one before it.

    Args:
        model: Its namespace.
        wiring: Dataset names of `judge` and `judge_engine`, the same for all models.
        loop: The shape of the loop.
    """
    stages, t = selection.create_validation_pipeline(), int(model[1:])
    before = {"model": f"{model}.model", "eft_eval": "eft.eft_eval"}
    if t > 1:
        stages += selection.create_comparison_pipeline()
        chosen = loop.when_worse == "best" and t > 2
        before["previous_scores"] = f"m{t - 1}.{'best' if chosen else 'validation'}_scores"
    if t > 1 and loop.when_worse == "best":
        stages += selection.create_choice_pipeline()
        before["previous_best"] = current_model(t, loop)
    return named(stages, model, {**wiring, **before})


def create_study_pipeline(model: str, loop: LoopParams) -> Pipeline:
    """How a model judges its own answers.

    Of M1 also whether it reads its judge prompt, from M2 on what its iteration did, told apart.
    """
    stages, told = study.create_own_pipeline(), ["own_metrics"]
    wiring = {name: f"{model}.{name}" for name in _STUDIED} | {"eft_eval": "eft.eft_eval"}
    if model == "m1":
        stages += study.create_rubric_pipeline()
        told.append("rubric_metrics")
    elif model != "sft":
        stages += study.create_iteration_pipeline()
        told.append("study_metrics")
        wiring["policy"] = current_model(int(model[1:]), loop)
    return named(stages + reporting.create_study_pipeline(told), model, wiring)


def current_model(t: int, loop: LoopParams) -> str:
    """What M_t is made from: M_(t-1), or the best so far where the loop goes back to it."""
    chosen = loop.when_worse == "best" and t > 2
    return f"m{t - 1}.{'best' if chosen else 'model'}"


def create_card_pipeline(model: str, loop: LoopParams) -> Pipeline:
    """The card of one model, and of the pairs that made it."""
    if model in ("sft", "m1"):
        learnt = model == "m1" and loop.eft != "none"
        stages = cards.create_elder_pipeline(eft=learnt, compared=model == "m1")
    else:
        stages = cards.create_iteration_pipeline()
    wiring = {name: f"{model}.{name}" for name in _TOLD_BY_CARDS}
    return named(stages, model, wiring | {"eft_metrics": "eft.eft_metrics"})


def named(
    stages: Pipeline, namespace: str, wiring: Mapping[str, str], outputs: Collection[str] = ()
) -> Pipeline:
    """The stages under a namespace: free inputs by the wiring, else as they are called.

    `outputs` keep their names too.
    """
    free = [name for name in stages.inputs() if not name.startswith("params:")]
    return Pipeline(
        stages,
        namespace=namespace,
        inputs={name: wiring.get(name, name) for name in free},
        outputs=set(outputs),
        parameters={name for name in stages.inputs() if name.startswith("params:")},
    )


def _guard(t: int) -> Pipeline:
    """Lets M_(t+1) be begun unless M_t is worse than the model before it."""
    wiring = {name: f"m{t}.{name}" for name in ("model", "selection_metrics")}
    return named(selection.create_guard_pipeline(), f"m{t}", wiring)


def _described(model: str) -> Pipeline:
    if model in ("sft", "m1"):
        return reporting.create_elder_pipeline()
    return reporting.create_iteration_pipeline()


def _update(loop: LoopParams) -> Pipeline:
    if loop.update == "positives":
        return sft.create_positives_pipeline()
    if loop.soft_labels:
        return judging.create_consistency_pipeline() + dpo.create_soft_pipeline()
    return dpo.create_pipeline()
