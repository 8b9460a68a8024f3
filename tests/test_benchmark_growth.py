"""The benchmarks of growth: slopes are slopes, and contestants that disagree are found out."""

import pytest

from benchmarks import growth, novelty
from benchmarks.growth import Clock
from benchmarks.novelty import exponent
from benchmarks.rounds import Setting
from srlm_kedro.pipelines import pairs, prompts


@pytest.fixture
def setting(tmp_path):
    return Setting(rounds=2, quick=True, device="cpu", folder=tmp_path, say=lambda text: None)


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_exponent_of_a_power(power):
    """Of figures that follow a power of the size, it is that power."""
    sizes = [10, 40, 160]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_a_steep_last_step_is_judged():
    """What is flat over all sizes may end steeply: the higher exponent counts, on either side."""
    sizes = [1, 10, 100]
    assert novelty.steepest(sizes, [1, 1, 100]) == pytest.approx(2)
    assert novelty.steepest(sizes, [1, 100, 100]) == pytest.approx(1)


def test_novelty_is_a_contest_that_all_decide_alike(setting):
    """Two contests with their agreement told, and a table of four sizes with two exponents."""
    *contests, table = novelty.run(setting)
    assert all("Ours decides as the others do" in each.notes[0] for each in contests)
    assert [row["prompts"] for row in table.rows] == [25, 50, 100, 200]
    assert table.title.endswith("up to 200 prompts")
    assert [row["of"] for row in table.ratios] == ["all prompts", "one prompt more"]
    assert all(0 < row["accepted"] < row["prompts"] for row in table.rows)


def test_a_contestant_that_decides_otherwise_is_told():
    """A faster filter that takes other prompts is no winner."""
    with pytest.raises(AssertionError, match="other decides 1 of 2 prompts otherwise"):
        novelty._agreement({"ours": [True, False, True], "other": [True, True]})


def test_the_clock_charges_the_stage_at_work(monkeypatch):
    """What passes between two nodes' beginnings is the first one's, saving included."""
    times = iter([0.0, 1.0, 1.5, 4.5, 4.75, 10.0])
    monkeypatch.setattr(growth.time, "process_time", lambda: next(times))
    writing, pairing = prompts.create_pipeline().nodes[0], pairs.create_pipeline().nodes[0]
    clock = Clock()
    clock.before_pipeline_run()
    for node in (writing, pairing):
        clock.before_dataset_loaded(node)
        clock.before_node_run(node)
    clock.after_pipeline_run()
    assert clock.seconds == {
        growth.START: 1.0,
        "prompts": 0.5 + 3.0,
        "pairs": 0.25 + 5.25,
    }
