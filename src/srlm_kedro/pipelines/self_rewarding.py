"""The algorithm on one page: M0, then M1, M2, ..., M_T. Paper: sections 2 and 3.1.

M0 is the pretrained model. The SFT baseline and M1 are M0 fine-tuned on seed data. Each later model
is made from the one before it by one iteration (`iteration.py`).
"""

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
    readiness,
    sft,
    verifiable,
)
from srlm_kedro.pipelines.iteration import asked, judge_of, named, renamed, step, writers
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.measuring import chain, measure

_ON_SEED_DATA = {"base": "m0.model", "checked": "seed.checked"}


def self_rewarding(loop: LoopParams) -> Pipeline:
    """All of it: M0, the SFT baseline, M1, ..., M_T, their evaluation, and the report."""
    steps = sum((step(t, loop) for t in range(2, loop.iterations + 1)), Pipeline([]))
    return foundation(loop) + steps + measure(loop.iterations, loop)


def foundation(loop: LoopParams) -> Pipeline:
    """M0, the SFT baseline (M0 on IFT), EFT, and M1 (M0 on IFT and EFT). Paper: section 2.1."""
    baseline = named(sft.create_baseline_pipeline(), "sft", _ON_SEED_DATA)
    return seed_data(loop) + _m0(loop) + baseline + _eft(loop) + _m1(loop)


def iteration(t: int, newest: int, loop: LoopParams) -> Pipeline:
    """M_t and its evaluation, from what is on disk up to M_newest.

    In an empty project it makes M0, the SFT baseline and M1 first.
    """
    groundwork = foundation(loop) if (t <= 2 and newest == 0) or t == 1 else Pipeline([])
    made = step(t, loop) if t > 1 else Pipeline([])
    return groundwork + made + measure(t, loop)


def compose(loop: LoopParams, tried: str = "m0") -> dict[str, Pipeline]:
    """The pipelines that depend on parameters, by the names that users run.

    Args:
        loop: The shape of the loop.
        tried: The model that `readiness` tries, as `readiness.model` names it.
    """
    return {
        "__default__": self_rewarding(loop),
        "foundation": foundation(loop),
        "iteration": iteration(2, 0, loop),
        "evaluation": measure(loop.iterations, loop),
        "estimate": seed_tables(loop) + ift.create_pipeline() + _estimate(loop),
        "readiness": _readiness(loop, tried),
        "seed_data": made_seed_data(loop),
        **published.create_pipelines(chain(loop.iterations)),
    }


def seed_data(loop: LoopParams) -> Pipeline:
    """IFT, EFT and the held-out prompts, and the gate that nothing is trained before."""
    checked = checks.create_seed_pipeline() + contamination.create_seed_pipeline(loop.eval_sets)
    gate = named(checked, "seed", {"base": "m0.model", **asked(loop)})
    return seed_tables(loop) + ift.create_pipeline() + gate


def seed_tables(loop: LoopParams) -> Pipeline:
    """The seed tables out of an OASST export; nothing where the catalog has them as files."""
    if loop.seed_data == "files":
        return Pipeline([])
    tables = ["ift_seed", "eft_seed", "eval_prompts"]
    return named(oasst.create_pipeline(), "oasst", {}, outputs=tables)


def made_seed_data(loop: LoopParams) -> Pipeline:
    """The seed data that come with the project, made again in their place."""
    if loop.world == "verifiable":
        tables = ["ift_seed", "eft_seed", "eval_prompts"]
        made = verifiable.create_seed_data_pipeline()
        return named(made, "seeding", {"model": "m0.model"}, outputs=tables)
    return microworld.create_seed_data_pipeline()


def _estimate(loop: LoopParams) -> Pipeline:
    return renamed(estimate.create_pipeline(), asked(loop))


def _readiness(loop: LoopParams, tried: str) -> Pipeline:
    """What the loop would ask of a model, on small samples; M0 is made if the project makes it.

    The judge is the loop's. Before M1 is there, the model itself is tried in its place.
    """
    model = f"{tried}.model"
    groundwork = seed_tables(loop) + ift.create_pipeline()
    if "m0.model" in (model, writers(model)[loop.prompt_generator]):
        groundwork += _m0(loop)
    too_early = loop.judge == "m1" and tried in ("m0", "sft")
    wiring = {
        "policy": model,
        "writer": writers(model)[loop.prompt_generator],
        **judge_of("current" if too_early else loop.judge, model),
        "asked": asked(loop).get("judge_prompt", "judge_prompt"),
    }
    return groundwork + renamed(readiness.create_pipeline(loop), wiring)


def _m0(loop: LoopParams) -> Pipeline:
    """The microworld's M0, copied or pretrained; nothing where a model is given."""
    if loop.world != "microworld":
        return Pipeline([])
    made = microworld.create_pipeline() if loop.pretrain else microworld.create_ready_pipeline()
    return named(made, "m0", {})


def _eft(loop: LoopParams) -> Pipeline:
    """EFT: judgements of the ranked responses, by `loop.eft`."""
    ways = {"ranking": eft.create_ranking_pipeline, "labels": eft.create_labels_pipeline}
    judged = ways.get(loop.eft, eft.create_pipeline)()
    if loop.eft == "none":
        judged = judged.to_outputs("eft_eval")  # the models are measured as judges all the same
    return named(judged, "eft", {"baseline": "sft.model", **asked(loop)})


def _m1(loop: LoopParams) -> Pipeline:
    if loop.eft == "none":
        return named(sft.create_baseline_pipeline(), "m1", _ON_SEED_DATA)
    wiring = _ON_SEED_DATA | {"eft_train": "eft.eft_train"}
    return named(sft.create_m1_pipeline(), "m1", wiring)


def shipped_m0() -> Pipeline:
    """The M0 that comes with the project, made again in its place, and its card."""
    made = microworld.create_pipeline() + microworld.create_card_pipeline()
    return named(made, "shipped_m0", {})
