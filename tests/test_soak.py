"""The soak: what runs under watch is seen, and what breaks a rule is named."""

import math

import pytest
from kedro.framework.project import settings
from kedro.pipeline import node

from benchmarks import soak
from benchmarks.project import hooked, inside, open_project, run_project
from benchmarks.soak import Watch

FULL = {f"m{t}": {"eval/mean_score": 3.0} for t in range(1, 5)}


@pytest.fixture
def watch(tmp_path):
    """Of a run to M4 that grew by 4% and kept what it may."""
    seen = Watch(tmp_path)
    seen.peaks = {"m2": 100.0, "m3": 103.0, "m4": 104.0}
    seen.weights = {"m2": 4, "m3": 5, "m4": 6}
    return seen


def test_a_run_in_order_has_no_fault(watch):
    """M2 may lack what only later iterations can have."""
    metrics = {**FULL, "m3": {**FULL["m3"], "drift": 1.0}, "m4": {**FULL["m4"], "drift": 1.0}}
    assert soak._faults(watch, metrics, last=4, keep=2) == []


def test_growth_weights_and_gaps_are_named(watch):
    """All faults at once."""
    watch.peaks["m4"], watch.weights["m3"] = 106.0, 7
    faults = soak._faults(watch, {**FULL, "m3": {}}, last=4, keep=2)
    assert len(faults) == 3
    assert "m4 is 1.060 times that of m2" in faults[0]
    assert faults[1] == "m3: 7 models kept their weights, 6 may"
    assert faults[2] == "m3 lacks eval/mean_score"


def test_what_an_earlier_run_made_is_not_called_flat(watch):
    """A peak that nobody saw is no proof."""
    del watch.peaks["m2"]
    (fault,) = soak._faults(watch, FULL, last=4, keep=2)
    assert str(math.nan) in fault


def test_the_watch_charges_a_node_to_its_model(tmp_path):
    """Seconds and peak of a model add up over its nodes; weights are counted where they lie."""
    seen = Watch(tmp_path)
    (tmp_path / "m2").mkdir()
    (tmp_path / "m2" / "model.safetensors").touch()
    for name in ("m2.draw", "m2.judge"):
        seen.before_node_run()
        seen.after_dataset_saved(node(len, "in", "out", name=name))
    assert set(seen.peaks) == set(seen.seconds) == {"m2"}
    assert seen.peaks["m2"] > 1
    assert seen.weights == {"m2": 1}


def test_a_project_of_its_own_runs_with_the_hooks_it_is_given(tmp_path):
    """Hooks that are set once it is open stay; afterwards the old ones are back."""
    folder = tmp_path / "project"
    open_project(folder)
    seen, before = Watch(folder), settings.HOOKS
    with inside(folder), hooked(*settings.HOOKS, seen):
        run_project(folder, "test", pipeline_names=["foundation"])
    assert "m1" in seen.peaks
    assert seen not in settings.HOOKS
    assert len(settings.HOOKS) == len(before)
