"""What is measured of each model: evaluation, selection, study, model card, and the report."""

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines import cards, evaluation, reporting, selection, study, verifiable
from srlm_kedro.pipelines.iteration import asked, current_model, judge_of, named
from srlm_kedro.pipelines.loop import LoopParams


def measure(last: int, loop: LoopParams) -> Pipeline:
    """All that is measured of the SFT baseline and of M1 to M_last, and the report on them."""
    models = chain(last)
    evaluations = sum((_evaluation(model, loop) for model in models), Pipeline([]))
    cards_ = sum((_card(model, loop) for model in models), Pipeline([]))
    studied = models if loop.study else []
    studies = sum((_study(model, loop) for model in studied), Pipeline([]))
    start = ["m0"] if loop.world == "verifiable" else []
    report = reporting.create_pipeline(models, loop.study, start)
    return _start(loop) + evaluations + select(last, loop) + studies + cards_ + report


def _start(loop: LoopParams) -> Pipeline:
    """What M0 answers where programs can check it, so that one sees where the chain began."""
    if loop.world != "verifiable":
        return Pipeline([])
    stages = evaluation.create_answering_pipeline() + verifiable.create_measuring_pipeline()
    return named(stages, "m0", {"model": "m0.model", "m0": "m0.model"})


def chain(last: int) -> list[str]:
    """The models that are measured, in their order: `sft`, `m1`, `m2`, ..."""
    return ["sft", *(f"m{t}" for t in range(1, last + 1))]


def select(last: int, loop: LoopParams) -> Pipeline:
    """Compares each of M2 to M_last with the model before it, by one judge for all of them."""
    if loop.when_worse == "off" or last < 2:
        return Pipeline([])
    return sum((_selection(t, loop) for t in range(1, last + 1)), Pipeline([]))


def _selection(t: int, loop: LoopParams) -> Pipeline:
    """The validation answers of M_t; from M2 on, their comparison with those of the model before.

    With `loop.when_worse: best` also the best model so far.
    """
    model = f"m{t}"
    stages = selection.create_validation_pipeline()
    wiring = judge_of(loop.compared_by) | asked(loop)
    wiring |= {"model": f"{model}.model", "eft_eval": "eft.eft_eval"}
    if t > 1:
        stages += selection.create_comparison_pipeline()
        chosen = loop.when_worse == "best" and t > 2
        wiring["previous_scores"] = f"m{t - 1}.{'best' if chosen else 'validation'}_scores"
    if t > 1 and loop.when_worse == "best":
        stages += selection.create_choice_pipeline()
        wiring["previous_best"] = current_model(t, loop)
    return named(stages, model, wiring)


def _evaluation(model: str, loop: LoopParams) -> Pipeline:
    """The evaluation of one model; from M1 on also its comparison with earlier models."""
    stages = evaluation.create_pipeline()
    stages += (
        reporting.create_seed_model_pipeline()
        if model in ("sft", "m1")
        else reporting.create_iteration_pipeline()
    )
    wiring = _own(
        *(model, "model", "prompts", "responses", "judgements", "judged_responses"),
        *("judge_metrics", "pair_metrics"),
    )
    wiring |= {"eft_eval": "eft.eft_eval", "m0": "m0.model", **asked(loop)}
    if loop.world == "verifiable":
        stages += verifiable.create_measuring_pipeline()
    if model != "sft":
        stages += evaluation.create_head_to_head_pipeline()
        previous = "sft" if model == "m1" else f"m{int(model[1:]) - 1}"
        wiring |= {
            "model_scores": f"{model}.eval_scores",
            "previous_scores": f"{previous}.eval_scores",
            "baseline_scores": "sft.eval_scores",
        }
    if model != "sft" and loop.world == "verifiable":
        stages += verifiable.create_gains_pipeline()
        wiring["m1_scores"] = "m1.eval_scores"
    return named(stages, model, wiring)


def _study(model: str, loop: LoopParams) -> Pipeline:
    """How a model judges its own answers.

    For M1 also whether it reads a judge prompt in words; from M2 on also what its iteration did.
    """
    stages, tables = study.create_self_judging_pipeline(), ["own_metrics"]
    wiring = _own(
        *(model, "model", "eval_scores", "eval_responses"),
        *("prompts", "judged_responses", "pairs", "reward_modelling"),
    )
    wiring |= {"eft_eval": "eft.eft_eval", **asked(loop)}
    if loop.world == "verifiable" and loop.judge_form == "criteria":
        stages += verifiable.create_criteria_pipeline()
    if model == "m1" and loop.judge_form == "worded":
        stages += study.create_rubric_pipeline()
        tables.append("rubric_metrics")
    elif model not in ("sft", "m1"):
        stages += study.create_iteration_pipeline()
        tables.append("study_metrics")
        wiring["policy"] = current_model(int(model[1:]), loop)
    return named(stages + reporting.create_study_pipeline(tables), model, wiring)


def _card(model: str, loop: LoopParams) -> Pipeline:
    """The card of one model; from M2 on also the card of the pairs that it was trained on."""
    if model in ("sft", "m1"):
        learnt = model == "m1" and loop.eft != "none"
        stages = cards.create_seed_model_pipeline(eft=learnt, compared=model == "m1")
    else:
        stages = cards.create_iteration_pipeline()
    wiring = _own(
        *(model, "model", "eval_metrics", "head_to_head", "train_metrics"),
        *("prompt_metrics", "judge_metrics", "pair_metrics", "pairs"),
    )
    return named(stages, model, wiring | {"eft_metrics": "eft.eft_metrics"})


def _own(model: str, *names: str) -> dict[str, str]:
    """Inputs that are the model's own tables."""
    return {name: f"{model}.{name}" for name in names}
