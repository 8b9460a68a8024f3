"""The algorithm on one page: M0 -> M1 -> M2 -> ... -> MT. Paper: sections 2 and 3.1."""

from kedro.pipeline import Pipeline

from srlm_kedro.pipelines import (
    checks,
    contamination,
    eft,
    estimate,
    ift,
    microworld,
    oasst,
    published,
    reporting,
    sft,
)
from srlm_kedro.pipelines.iteration import (
    create_card_pipeline,
    create_evaluation_pipeline,
    create_pipeline,
    create_selection_pipeline,
    create_study_pipeline,
    current_model,
    named,
)
from srlm_kedro.pipelines.loop import LoopParams

_ON_SEED_DATA = {"base": "m0.model", "checked": "seed.checked"}
_ENGINES = {"external": "external_judge_engine"}
"""Of judges that are no models of the loop."""


def foundation(loop: LoopParams) -> Pipeline:
    """M0, the SFT baseline, EFT written by the baseline, and M1."""
    baseline = named(sft.create_baseline_pipeline(), "sft", _ON_SEED_DATA)
    judged = eft.create_ranking_pipeline() if loop.eft == "ranking" else eft.create_pipeline()
    if loop.eft == "none":
        judged = judged.to_outputs("eft_eval")  # judges are measured all the same
    evaluated = named(judged, "eft", {"baseline": "sft.model"})
    tables = seed_tables(loop) + ift.create_pipeline() + _checked(loop)
    return tables + _m0(loop) + baseline + evaluated + _m1(loop)


def shipped_m0() -> Pipeline:
    """The M0 that comes with the project, made again where it lies, and its card."""
    made = microworld.create_pipeline() + microworld.create_card_pipeline()
    return named(made, "shipped_m0", {})


def seed_tables(loop: LoopParams) -> Pipeline:
    """IFT, EFT and held-out prompts out of an OASST export, where they are no tables yet."""
    if loop.seed_data == "files":
        return Pipeline([])
    tables = ["ift_seed", "eft_seed", "eval_prompts"]
    return named(oasst.create_pipeline(), "oasst", {}, outputs=tables)


def step(t: int, loop: LoopParams) -> Pipeline:
    """Iteration t: M_t from M_(t-1), or from the best so far."""
    current = current_model(t, loop)
    writers = {"current": current, "m0": "m0.model", "fixed": "prompt_generator.model"}
    judges = {"current": current, "m1": "m1.model", "external": "judge.model"}
    wiring = {
        "writer": writers[loop.prompt_generator],
        "judge": judges[loop.judge],
        "judge_engine": _ENGINES.get(loop.judge, "generation_engine"),
    }
    return create_pipeline(t, wiring, loop)


def measure(last: int, loop: LoopParams) -> Pipeline:
    """What is measured of the baseline and M1 to M_last, their cards, and the report on them."""
    models = chain(last)
    evaluations = sum((create_evaluation_pipeline(model) for model in models), Pipeline([]))
    cards = sum((create_card_pipeline(model, loop) for model in models), Pipeline([]))
    studied = models if loop.study else []
    studies = sum((create_study_pipeline(model, loop) for model in studied), Pipeline([]))
    report = reporting.create_pipeline(models, loop.study)
    return evaluations + select(last, loop) + studies + cards + report


def select(last: int, loop: LoopParams) -> Pipeline:
    """Each of M2 to M_last held against the model before it by one judge, and the best so far."""
    if loop.when_worse == "off" or last < 2:
        return Pipeline([])
    wiring = {
        "judge": {"m1": "m1.model", "external": "judge.model"}[loop.compared_by],
        "judge_engine": _ENGINES.get(loop.compared_by, "generation_engine"),
    }
    models = [f"m{t}" for t in range(1, last + 1)]
    return sum((create_selection_pipeline(name, wiring, loop) for name in models), Pipeline([]))


def chain(last: int) -> list[str]:
    """The models that are measured, in their order."""
    return ["sft", *(f"m{t}" for t in range(1, last + 1))]


def self_rewarding(loop: LoopParams) -> Pipeline:
    """All of it: M0, M1, ..., M_T, evaluation, report."""
    steps = sum((step(t, loop) for t in range(2, loop.iterations + 1)), Pipeline([]))
    return foundation(loop) + steps + measure(loop.iterations, loop)


def iteration(t: int, newest: int, loop: LoopParams) -> Pipeline:
    """One model further: M_t, on top of what lies on disk up to M_newest.

    What an empty project lacks (M0, M1) is made first.
    """
    groundwork = foundation(loop) if (t <= 2 and newest == 0) or t == 1 else Pipeline([])
    made = step(t, loop) if t > 1 else Pipeline([])
    return groundwork + made + measure(t, loop)


def compose(loop: LoopParams) -> dict[str, Pipeline]:
    """The pipelines that depend on the shape of the loop, by the names users run them with."""
    return {
        "__default__": self_rewarding(loop),
        "foundation": foundation(loop),
        "iteration": iteration(2, 0, loop),
        "evaluation": measure(loop.iterations, loop),
        "estimate": seed_tables(loop) + ift.create_pipeline() + estimate.create_pipeline(),
        **published.create_pipelines(chain(loop.iterations)),
    }


def _checked(loop: LoopParams) -> Pipeline:
    apart = contamination.create_seed_pipeline(loop.eval_sets)
    return named(checks.create_seed_pipeline() + apart, "seed", {"base": "m0.model"})


def _m0(loop: LoopParams) -> Pipeline:
    """The microworld's M0: a copy of the one that comes with the project, or pretrained here."""
    if loop.world == "given":
        return Pipeline([])
    made = microworld.create_pipeline() if loop.pretrain else microworld.create_ready_pipeline()
    return named(made, "m0", {})


def _m1(loop: LoopParams) -> Pipeline:
    if loop.eft != "none":
        wiring = _ON_SEED_DATA | {"eft_train": "eft.eft_train"}
        return named(sft.create_m1_pipeline(), "m1", wiring)
    return named(sft.create_baseline_pipeline(), "m1", _ON_SEED_DATA)
