"""Shards over replicas that come, go and fail: each is drawn once, and none waits for the slow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm_kedro.engines.generation.replicas.queue import Exhausted, ShardQueue


def test_each_replica_holds_two_shards():
    """One that it works on, and one that waits."""
    queue = ShardQueue(range(5), tries=1)
    assert [queue.take("a") for _ in range(3)] == [0, 1, None]
    assert [queue.take("b") for _ in range(3)] == [2, 3, None]
    assert queue.end("a", 0)
    assert queue.take("a") == 4
    assert queue.held_by("a") == (1, 4)


def test_a_lost_replica_s_shards_are_drawn_by_others():
    """Before all others; only the one that it worked on counts as a try."""
    queue = ShardQueue(range(4), tries=2)
    queue.take("a"), queue.take("a")
    queue.lose("a")
    assert [queue.take("b"), queue.take("b")] == [0, 1]
    queue.fail("b", 1)
    assert queue.take("c") == 1
    with pytest.raises(Exhausted, match="shard 1 failed 2 times"):
        queue.fail("c", 1)


def test_the_last_shards_are_drawn_twice_and_count_once():
    """First what waits behind other work, then what was handed out first; never three times."""
    queue = ShardQueue(range(3), tries=1)
    assert [queue.take("slow"), queue.take("slow"), queue.take("b")] == [0, 1, 2]
    assert queue.end("b", 2)
    assert queue.take("b") == 1
    assert queue.take("c") == 0
    assert queue.take("d") is None
    assert queue.end("b", 1)
    assert queue.end("c", 0)
    assert queue.finished
    assert not queue.end("slow", 0)
    assert queue.take("slow") is None


def test_a_failure_of_a_copy_puts_nothing_back():
    """The other replica still holds the shard."""
    queue = ShardQueue([7], tries=3)
    assert queue.take("a") == queue.take("b") == 7
    queue.lose("b")
    assert queue.take("c") == 7
    assert queue.end("a", 7)
    assert queue.finished
    queue.lose("c")
    assert queue.finished


@given(st.integers(0, 12), st.data())
def test_every_shard_is_drawn_once_whatever_happens(count, data):
    """As long as no shard fails too often."""
    queue = ShardQueue(range(count), tries=10_000)
    replicas = [0, 1, 2]
    held = {name: [] for name in replicas}
    drawn = []
    for step in range(10_000):
        if queue.finished:
            break
        for name in replicas:
            while (shard := queue.take(name)) is not None:
                held[name].append(shard)
            assert tuple(held[name]) == queue.held_by(name)
            assert len(held[name]) <= 2
        name = data.draw(st.sampled_from([name for name in replicas if held[name]]))
        # Toward the end nothing fails any more, so that the test ends.
        event = data.draw(st.sampled_from(["end", "fail", "lose"])) if step < 40 else "end"
        if event == "lose":
            queue.lose(name)
            replicas[replicas.index(name)] = new = max(held) + 1
            held[new] = []
        elif event == "fail":
            queue.fail(name, held[name].pop(0))
        elif queue.end(name, shard := held[name].pop(0)):
            drawn.append(shard)
    assert sorted(drawn) == list(range(count))
