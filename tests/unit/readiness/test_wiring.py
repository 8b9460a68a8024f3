"""Which models readiness asks."""

import pytest

from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import compose


@pytest.mark.parametrize(
    ("judge", "tried", "asked"),
    [
        ("m1", "m0", "m0.model"),
        ("m1", "sft", "sft.model"),
        ("m1", "m1", "m1.model"),
        ("m1", "m3", "m1.model"),
        ("current", "m3", "m3.model"),
        ("external", "m3", "judge.model"),
    ],
)
def test_the_judge_is_the_loops(judge, tried, asked):
    """A frozen M1 judges for later models; before it is there, the model is tried in its place."""
    made = compose(LoopParams(judge=judge), tried)["readiness"]
    nodes = {node.name: node for node in made.nodes}
    assert nodes["judge_in_words"].inputs[0] == asked
    assert nodes["judge_own_answers"].inputs[0] == asked
    assert nodes["answer_prompts"].inputs[0] == f"{tried}.model"
