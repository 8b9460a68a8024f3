"""Names of stages in plain words."""

from srlm_kedro.pipelines import published
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import chain, compose
from srlm_kedro.running.stage_names import has_name, stage_name

LOOPS = [
    LoopParams(),
    LoopParams(soft_labels=True),
    LoopParams(when_worse="best"),
    LoopParams(update="positives"),
    LoopParams(seed_data="oasst", world="given", eft="ranking"),
    LoopParams(world="verifiable", judge_form="criteria", eft="labels"),
    LoopParams(reward="checked"),
    LoopParams(reward="both"),
]


def every_node():
    found = [pipeline for loop in LOOPS for pipeline in compose(loop).values()]
    found += published.create_pipelines(chain(2)).values()
    return sorted({node.name for pipeline in found for node in pipeline.nodes})


def test_a_stage_is_told_with_its_model():
    assert stage_name("m2.judge_candidates") == "M2: judging candidate responses"
    assert stage_name("sft.draw_eval_responses") == "SFT baseline: answering held-out prompts"
    assert stage_name("report.summary") == "summarising"
    assert stage_name("m3.count_apples") == "M3: count apples"


def test_every_stage_has_name():
    """A run shows no name of a function; write words for a new stage into `stage_names.py`."""
    assert [name for name in every_node() if not has_name(name)] == []
