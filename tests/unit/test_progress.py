"""Progress of long work."""

import logging

import pytest

from srlm_kedro.display import progress
from srlm_kedro.display.progress import Progress, duration


@pytest.fixture(autouse=True)
def _no_stage():
    """Clears the stage that tests of hooks may have left."""
    before = progress.stage.set("")
    yield
    progress.stage.reset(before)


@pytest.fixture
def told():
    """What a listener is told."""
    heard = []

    def listener(*news):
        heard.append(news)

    progress.listen(listener)
    yield heard
    progress.unlisten(listener)


def clock(*times):
    left = iter(times)
    return lambda: next(left)


def test_a_log_gets_a_line_now_and_then(caplog):
    """Every half minute a line has the rate and the remaining time."""
    with (
        caplog.at_level(logging.INFO),
        Progress("m2", total=100, clock=clock(0.0, 10.0, 40.0, 60.0)) as work,
    ):
        work.add(10, 200)
        work.add(30, 600)
        work.add(10, 200)
    assert caplog.messages == ["m2: 40 of 100 completions, 20 tokens/s, about 60 s left"]


def test_a_log_says_in_which_stage_it_is(caplog):
    """The line names the stage, not the model that samples: that is not the model being made."""
    before = progress.stage.set("9 of 95, M2: judging candidate responses")
    with caplog.at_level(logging.INFO):
        Progress("m1", total=100, clock=clock(0.0, 40.0)).add(1)
    progress.stage.reset(before)
    assert caplog.messages == ["9 of 95, M2: judging candidate responses: 1 of 100 completions"]


def test_the_first_completions_give_no_estimate(caplog):
    """The first completion includes the time to load the model."""
    with caplog.at_level(logging.INFO):
        Progress("m2", total=100, clock=clock(0.0, 40.0)).add(1)
    assert caplog.messages == ["m2: 1 of 100 completions"]


def test_what_an_earlier_run_has_done_counts_but_says_nothing_of_the_pace(caplog):
    """40 of 60 in 40 s: the last 20 take 20 s more."""
    with caplog.at_level(logging.INFO):
        work = Progress("SFT of m1", 100, "steps", clock=clock(0.0, 40.0))
        work.skip(40)
        work.reach(80, note="loss 0.5000")
    assert caplog.messages == ["SFT of m1: 80 of 100 steps, loss 0.5000, about 20 s left"]


def test_rows_that_all_end_late_count_before_they_do(caplog):
    """Half of the tokens in 40 s: no row has ended, and 40 s are left."""
    with (
        caplog.at_level(logging.INFO),
        Progress("m2", total=64, clock=clock(0.0, 40.0)),
        Progress("m2", total=64) as shard,
    ):
        shard.at_work([50] * 64, limit=100)
    assert caplog.messages == ["m2: 0 of 64 completions, 80 tokens/s, about 40 s left"]


def test_work_within_work_is_added_to_the_outer_one(told):
    """A shard is a part of the whole; the whole adds what the shard did not report."""
    progress.node.set("m2.judge_candidates")
    with Progress("m2", total=10) as whole:
        with Progress("m2", total=5) as shard:
            shard.add(2)
        whole.reach(5)
        whole.reach(4)
    assert told == [
        ("m2.judge_candidates", 2, 10, "2 of 10"),
        ("m2.judge_candidates", 5, 10, "5 of 10"),
    ]
    with Progress("m2", total=3) as other:
        other.add(1)
    assert told[-1][1:3] == (1, 3)


def test_a_listener_needs_no_log_lines(told, caplog):
    """If there is a listener, the log gets no lines."""
    assert progress.has_listener()
    with caplog.at_level(logging.INFO), Progress("m2", 9, clock=lambda: 99.0 * len(told)) as work:
        work.add(1)
        work.add(1)
    assert caplog.messages == []
    assert len(told) == 2


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (34.2, "34 s"),
        (125, "2 min"),
        (7500, "2 h 5 min"),
        (3 * 86400, "3 days"),
    ],
)
def test_spans_of_time_are_said_as_a_person_says_them(seconds, said):
    assert duration(seconds) == said
