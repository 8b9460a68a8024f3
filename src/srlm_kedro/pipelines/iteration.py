"""One iteration of the algorithm: M_(t-1) becomes M_t. Paper: sections 2.2 to 2.4.

1. A writer makes new prompts from known ones (`prompts`).
2. M_(t-1) draws N responses to each prompt (`responses`).
3. M_(t-1) judges each response K times; the mean score is the reward (`judging`).
4. The best and the worst response to a prompt make a pair (`pairs`).
5. The tables are checked against their limits (`checks`, `contamination`).
6. M_(t-1) is trained on the pairs by DPO and becomes M_t (`dpo`).
"""

from collections.abc import Collection, Mapping

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines import (
    checks,
    contamination,
    dpo,
    judging,
    pairs,
    prompts,
    responses,
    selection,
    sft,
)
from srlm_kedro.pipelines.loop import LoopParams

_ENGINES = {"external": "external_judge_engine"}
"""The engines of judges that are not models of the loop."""


def step(t: int, loop: LoopParams) -> Pipeline:
    """Makes M_t, t at least 2, from M_(t-1) or from the best model so far."""
    stages = (
        prompts.create_pipeline(loop.judge_form == "criteria")
        + responses.create_pipeline()
        + _judging(loop)
        + pairs.create_pipeline()
        + checks.create_pipeline()
        + contamination.create_pipeline(loop.eval_sets)
        + _update(loop)
    )
    current, first = current_model(t, loop), t == 2
    guarded = loop.when_worse == "stop" and not first
    wiring = {
        "writer": writers(current)[loop.prompt_generator],
        "policy": current,
        **judge_of(loop.judge, current),
        **asked(loop),
        "elder_judge": "sft.model" if first else f"m{t - 2}.model",
        "base": "m0.model",
        "eft_train": "eft.eft_train",
        "earlier_prompts": "no_prompts" if first else f"m{t - 1}.known_prompts",
        "previous_judge_metrics": "no_metrics" if first else f"m{t - 1}.judge_metrics",
        "policy_checked": f"m{t - 1}.selection_checked" if guarded else "no_metrics",
    }
    made = named(stages, f"m{t}", wiring)
    return _guard(t - 1) + made if guarded else made


def _update(loop: LoopParams) -> Pipeline:
    """The training, by `loop.update` and `loop.soft_labels`."""
    if loop.update == "positives":
        return sft.create_positives_pipeline()
    if loop.soft_labels:
        return judging.create_consistency_pipeline() + dpo.create_soft_pipeline()
    return dpo.create_pipeline()


def _judging(loop: LoopParams) -> Pipeline:
    """The rewards, by `loop.reward`."""
    if loop.reward == "judge":
        return judging.create_pipeline()
    return judging.create_checked_pipeline(with_judge=loop.reward == "both")


def asked(loop: LoopParams) -> dict[str, str]:
    """The dataset that says what every judge is asked, by `loop.judge_form`."""
    return {"judge_prompt": "criteria_prompt"} if loop.judge_form == "criteria" else {}


def _guard(t: int) -> Pipeline:
    """Stops the run before M_(t+1) is begun if M_t is worse than the model before it."""
    wiring = {name: f"m{t}.{name}" for name in ("model", "selection_metrics")}
    return named(selection.create_guard_pipeline(), f"m{t}", wiring)


def current_model(t: int, loop: LoopParams) -> str:
    """The dataset of the model that M_t is made from: M_(t-1), or the best model so far."""
    chosen = loop.when_worse == "best" and t > 2
    return f"m{t - 1}.{'best' if chosen else 'model'}"


def writers(current: str) -> dict[str, str]:
    """The dataset of the model that writes prompts, for each `loop.prompt_generator`."""
    return {"current": current, "m0": "m0.model", "fixed": "prompt_generator.model"}


def judge_of(who: str, current: str = "") -> dict[str, str]:
    """The datasets of `judge` and `judge_engine`, for a judge as `loop` names it."""
    judges = {"current": current, "m1": "m1.model", "external": "judge.model"}
    return {"judge": judges[who], "judge_engine": _ENGINES.get(who, "generation_engine")}


def named(
    stages: Pipeline, namespace: str, wiring: Mapping[str, str], outputs: Collection[str] = ()
) -> Pipeline:
    """The stages in a namespace.

    Args:
        stages: Nodes whose datasets have short names, such as `policy`.
        namespace: `m2`, ...; it is put before all names but those of the inputs and parameters.
        wiring: The dataset behind each free input; an input that it lacks keeps its name.
        outputs: Outputs that keep their names too.
    """
    free = [name for name in stages.inputs() if not name.startswith("params:")]
    return Pipeline(
        stages,
        namespace=namespace,
        inputs={name: wiring.get(name, name) for name in free},
        outputs=set(outputs),
        parameters={name for name in stages.inputs() if name.startswith("params:")},
    )


def renamed(stages: Pipeline, wiring: Mapping[str, str]) -> Pipeline:
    """The stages without a namespace; `wiring` gives the dataset behind some of their inputs."""
    free = stages.inputs() & set(wiring)
    return Pipeline(stages, inputs={name: wiring[name] for name in free}) if free else stages
