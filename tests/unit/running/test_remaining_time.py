"""How long a run will take."""

import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node

from srlm_kedro.datasets.engine import EngineDataset
from srlm_kedro.running.remaining_time import Expected, RemainingTime, expected_times


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def roughly(**seconds):
    return {name: Expected(each, "rough") for name, each in seconds.items()}


def test_nobody_can_say_before_something_was_seen(clock):
    """The first stage is at work and has not reported anything yet."""
    pace = RemainingTime(roughly(a=10.0, b=10.0), clock)
    pace.begin("a")
    clock.now = 5.0
    assert pace.left() is None
    assert pace.share() == 0
    assert RemainingTime({}, clock).left() is None


def test_the_rest_goes_at_the_pace_of_what_was_seen(clock):
    """`a` took twice as long as expected, and so will the others."""
    pace = RemainingTime(roughly(a=10.0, b=10.0, c=20.0), clock)
    pace.begin("a")
    clock.now = 20.0
    pace.end("a")
    assert pace.left() == 60
    assert pace.share() == 0.25
    pace.begin("b")
    clock.now = 30.0
    assert pace.left() == 50
    assert pace.at_work == ["b"]


def test_a_drawing_that_is_half_done_tells_of_itself_and_of_the_others(clock):
    """Half of it took 40 s, so 40 s are left, and the other stage takes 80 s."""
    pace = RemainingTime(roughly(a=10.0, b=10.0), clock)
    pace.begin("a")
    clock.now = 40.0
    pace.update("a", 50, 100)
    assert pace.left() == 40 + 80


def test_a_second_drawing_of_a_stage_begins_anew(clock):
    """Its speed is measured from its own start."""
    pace = RemainingTime(roughly(a=10.0), clock)
    pace.begin("a")
    clock.now = 90.0
    pace.update("a", 100, 100)
    pace.update("a", 0, 100)
    clock.now = 100.0
    pace.update("a", 50, 100)
    assert pace.left() == pytest.approx(10)


def test_times_that_were_measured_here_are_believed_at_once(clock):
    """The same command ran before."""
    pace = RemainingTime({"a": Expected(10.0, "measured"), "b": Expected(30.0, "measured")}, clock)
    pace.begin("a")
    clock.now = 4.0
    assert pace.left() == 36


def test_stages_without_a_model_are_no_measure_of_those_with_one(clock):
    """A slow check says nothing about the time of a training."""
    pace = RemainingTime({"check": Expected(1.0, "plain"), "train": Expected(10.0, "rough")}, clock)
    pace.begin("check")
    clock.now = 50.0
    pace.end("check")
    assert pace.left() is None
    pace.begin("train")
    clock.now = 60.0
    pace.update("train", 1, 4)
    assert pace.left() == pytest.approx(30)


def test_the_share_never_falls_and_ends_at_one(clock):
    """While a stage takes longer than expected, the bar stays where it is."""
    pace = RemainingTime(roughly(a=10.0, b=10.0), clock)
    shares = []
    for name, end in (("a", 10.0), ("b", 100.0)):
        pace.begin(name)
        for clock.now in (end / 2, end):
            shares.append(pace.share())
        pace.end(name)
        shares.append(pace.share())
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_stages_are_expected_to_take_what_they_took_before():
    """Otherwise the time of the same stage of another model counts, and else a typical time."""
    timings = pd.DataFrame({"model": ["m2"], "node": ["train_dpo"], "seconds": [7.5]})
    catalog = DataCatalog(
        {
            "timings": MemoryDataset(timings),
            "engine": EngineDataset("fractions.Fraction"),
            "table": MemoryDataset(1),
        }
    )
    nodes = [
        Node(lambda *_: 0, inputs, f"out{i}", name=name)
        for i, (name, inputs) in enumerate(
            [
                ("m2.train_dpo", ["engine"]),
                ("m3.train_dpo", ["engine"]),
                ("m3.judge_own", ["engine"]),
                ("m3.other", ["table"]),
            ]
        )
    ]
    found = expected_times(nodes, catalog)
    assert found["m2.train_dpo"] == found["m3.train_dpo"] == Expected(7.5, "measured")
    assert found["m3.judge_own"].seconds > found["m3.other"].seconds
    assert [found[f"m3.{name}"].basis for name in ("judge_own", "other")] == ["rough", "plain"]


def test_the_time_spent_counts_from_where_the_run_began(clock):
    """The time before the first stage is part of it."""
    clock.now = 12.0
    pace = RemainingTime(roughly(a=10.0), clock, start=2.0)
    assert pace.elapsed == 10
