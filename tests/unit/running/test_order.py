"""The order in which a run makes what it makes."""

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from kedro.runner import SequentialRunner, ThreadRunner

from srlm_kedro.datasets.engine import EngineDataset
from srlm_kedro.errors import GateError
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import self_rewarding
from srlm_kedro.running.order import CheapFirstRunner, cheap_first, running_order


def loop_catalog(pipeline):
    """Engines under the names that the loop has, and something else under every other name."""
    names = {name for name in pipeline.inputs() if name.endswith("_engine") or name == "referee"}
    engines = {name: EngineDataset("fractions.Fraction") for name in names}
    others = {name: MemoryDataset(1) for name in pipeline.datasets() - names}
    return DataCatalog({**engines, **others})


@pytest.fixture(scope="module")
def places():
    loop = self_rewarding(LoopParams())
    order = running_order(loop, loop_catalog(loop), loop)
    assert set(order) == set(loop.nodes)
    for node, needed in loop.node_dependencies.items():
        assert all(order.index(each) < order.index(node) for each in needed)
    return {node.name: place for place, node in enumerate(order)}


def test_nothing_of_the_baseline_is_measured_before_eft_is_known_to_be_left(places):
    """The judging for EFT and its gate come right after the training that they need."""
    gate = places["eft.select_eft"]
    measured = [name for name in places if name.startswith("sft.") and "train" not in name]
    assert len(measured) > 5
    assert all(places[name] > gate for name in measured)
    assert gate == places["eft.judge_ranked"] + 1


def test_what_is_fresh_does_not_change_the_order_of_the_rest(places):
    """With another `eft` the split is stale too; Kedro would then measure the baseline first."""
    loop = self_rewarding(LoopParams())
    names = {name for name in places if not name.startswith(("m0.", "prepare", "seed."))}
    stale = loop.filter(node_names=list(names - {"sft.train_sft", "sft.check_training"}))
    order = [node.name for node in running_order(stale, loop_catalog(loop), loop)]
    assert order == [name for name in places if name in order]
    kedros = [node.name for node in stale.nodes]
    assert kedros.index("sft.draw_eval_responses") < kedros.index("eft.judge_ranked")


@pytest.mark.parametrize(
    ("drawn", "gates"),
    [
        ("m2.write_prompts", ["m2.accept_prompts"]),
        ("m2.judge_candidates", ["m2.reward_responses", "m2.make_pairs", "m2.gate"]),
        ("m2.train_dpo", ["m2.check_training"]),
    ],
)
def test_a_gate_opens_before_another_engine_is_at_work(places, drawn, gates):
    """Between a drawing and its gates there is nothing that draws or trains."""
    loop = self_rewarding(LoopParams())
    catalog = loop_catalog(loop)
    engines = {
        node.name
        for node in loop.nodes
        if any("EngineData" in catalog.get_type(n) for n in node.inputs)
    }
    for gate in gates:
        between = {name for name in places if places[drawn] < places[name] < places[gate]}
        assert not between & engines


def test_the_runner_stops_at_a_gate_before_the_work_that_kedro_would_do_first():
    """Kedro would draw everything of one depth before the gate below it."""
    drawn = []

    def draw(table, engine):
        drawn.append(table)
        return table

    def refuse(_):
        raise GateError("nothing is left")

    pipeline = Pipeline(
        [
            Node(draw, ["a", "engine"], "a_drawn", name="a"),
            Node(draw, ["b", "engine"], "b_drawn", name="b"),
            Node(refuse, "a_drawn", "open", name="z_gate"),
        ]
    )
    held = {"a": MemoryDataset("a"), "b": MemoryDataset("b")}
    catalog = DataCatalog({**held, "engine": EngineDataset("fractions.Fraction")})
    with pytest.raises(GateError):
        CheapFirstRunner(pipeline).run(pipeline, catalog)
    assert drawn == ["a"]
    drawn.clear()
    with pytest.raises(GateError):
        SequentialRunner().run(pipeline, catalog)
    assert drawn == ["a", "b"]


def test_a_runner_of_the_users_choice_is_kept():
    """Only Kedro's sequential runner is replaced, with its option."""
    threads, loop = ThreadRunner(), Pipeline([])
    assert cheap_first(threads, loop) is threads
    assert cheap_first(None, loop)._is_async is False
    assert cheap_first(SequentialRunner(is_async=True), loop)._is_async is True
