"""The stages that turn M_(t-1) into M_t, and what is measured of a model."""

from collections.abc import Mapping

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines import (
    checks,
    dpo,
    evaluation,
    judging,
    pairs,
    prompts,
    reporting,
    responses,
    sft,
)

_LEFT_BY_ITERATION = [
    "prompts",
    "responses",
    "judgements",
    "judged_responses",
    "judge_metrics",
    "pair_metrics",
]


def create_pipeline(
    t: int, wiring: Mapping[str, str], *, update: str, soft_labels: bool
) -> Pipeline:
    """Makes M_t: new prompts, candidates, judgements, pairs, checks, training.

    Paper: section 2.3 and 2.4.

    Args:
        t: The model to make; 2 is the first.
        wiring: Dataset names of `writer`, `judge` and `judge_engine`.
        update: `dpo`, or `positives` for the control without preferences.
        soft_labels: Whether pairs count by how far two judges agree.
    """
    policy = f"m{t - 1}.model"
    first = t == 2
    stages = (
        prompts.create_pipeline()
        + responses.create_pipeline()
        + judging.create_pipeline()
        + pairs.create_pipeline()
        + checks.create_pipeline()
        + _update(update, soft_labels)
    )
    return named(
        stages,
        f"m{t}",
        {
            **wiring,
            "policy": policy,
            "elder_judge": "sft.model" if first else f"m{t - 2}.model",
            "base": "m0.model",
            "eft_train": "eft.eft_train",
            "earlier_prompts": "no_prompts" if first else f"m{t - 1}.known_prompts",
            "previous_judge_metrics": "no_metrics" if first else f"m{t - 1}.judge_metrics",
        },
    )


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


def named(stages: Pipeline, namespace: str, wiring: Mapping[str, str]) -> Pipeline:
    """The stages under a namespace: free inputs by the wiring, else as they are called."""
    free = [name for name in stages.inputs() if not name.startswith("params:")]
    return Pipeline(
        stages,
        namespace=namespace,
        inputs={name: wiring.get(name, name) for name in free},
        parameters={name for name in stages.inputs() if name.startswith("params:")},
    )


def _described(model: str) -> Pipeline:
    if model in ("sft", "m1"):
        return reporting.create_elder_pipeline()
    return reporting.create_iteration_pipeline()


def _update(update: str, soft_labels: bool) -> Pipeline:
    if update == "positives":
        return sft.create_positives_pipeline()
    if soft_labels:
        return judging.create_consistency_pipeline() + dpo.create_soft_pipeline()
    return dpo.create_pipeline()
