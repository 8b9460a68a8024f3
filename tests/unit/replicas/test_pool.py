"""Replicas that die, hang, refuse or answer garbage, by workers in simulated time."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from srlm_kedro.engines.generation.replicas.pool import Event, Limits, Pool
from srlm_kedro.errors import GateError, InputError

SHARDS = [list(range(first, first + 3)) for first in range(0, 60, 3)]


class Cluster:
    """Workers whose deeds a test decides: `deed(replica, shard)` gives one of the words below."""

    def __init__(self, count=3, deed=lambda replica, shard: "rows", starts=lambda replica: "ready"):
        self.count, self.deed, self.starts = count, deed, starts
        self.now = 0.0
        self.number = 0
        self.pending, self.sent, self.stopped, self.drawn = [], {}, [], []

    def wanted(self):
        return self.count

    def start(self):
        self.number += 1
        self.sent[self.number] = []
        start = self.starts(self.number)
        if start != "wait":
            self.pending.append(Event(self.number, "placed"))
        if start not in ("wait", "hang"):
            error = GateError("no device") if start == "lost" else None
            self.pending.append(Event(self.number, start, value=error))
        return self.number

    def send(self, replica, call, ticket, requests):
        self.sent[replica].append((ticket, call, requests))

    def events(self, timeout):
        self.now += timeout
        events, self.pending = self.pending, []
        for replica, waiting in self.sent.items():
            if waiting and replica not in self.stopped:
                ticket, call, requests = waiting[0]
                shard = SHARDS.index(requests)
                if (deed := self.deed(replica, shard)) == "hang":
                    continue
                waiting.pop(0)
                self.drawn.append(shard)
                value = {
                    "rows": call(None, requests),
                    "garbage": [],
                    "error": MemoryError("no memory"),
                    "lost": GateError("the process died"),
                    "refused": InputError("it does not fit"),
                }[deed]
                kind = {"garbage": "rows", "refused": "error"}.get(deed, deed)
                if deed == "lost":
                    waiting.clear()
                events.append(Event(replica, kind, ticket, value))
        return events

    def stop(self, replicas):
        self.stopped += replicas


def call(_, requests):
    return [10 * each for each in requests]


def fault(requests, rows):
    return None if len(rows) == len(requests) else f"{len(rows)} rows for {len(requests)} requests"


def draw(cluster, limits=None, pool=None):
    limits = limits or Limits(patience=5.0)
    pool = pool or Pool(cluster, limits, clock=lambda: cluster.now)
    found = list(pool.run(SHARDS, call, fault))
    assert sorted(place for place, _ in found) == list(range(len(SHARDS)))
    assert all(rows == call(None, SHARDS[place]) for place, rows in found)
    return pool


def test_each_shard_is_drawn_once_by_replicas_that_stay():
    """And the next call finds them warm."""
    cluster = Cluster()
    pool = draw(cluster)
    assert set(cluster.drawn) == set(range(len(SHARDS)))
    # The last ones are drawn twice, and such a copy may end only in the next call.
    assert len(cluster.drawn) <= len(SHARDS) + 3
    draw(cluster, pool=pool)
    assert cluster.number == 3
    assert pool.replaced == 0
    pool.stop()
    assert cluster.stopped == [1, 2, 3]


@pytest.mark.parametrize("deed", ["lost", "error", "garbage", "hang"])
def test_a_replica_that_fails_once_is_replaced_and_nothing_is_lost(deed):
    """Whatever it did."""
    cluster = Cluster(deed=lambda replica, shard: deed if replica == 2 else "rows")
    pool = draw(cluster)
    assert 2 in cluster.stopped
    assert pool.replaced == 1
    assert cluster.number == 4


def test_replicas_die_at_random_all_the_time():
    """Fifty deaths in a run, and each shard comes once."""
    chance = random.Random(3)
    deaths = 0

    def deed(replica, shard):
        nonlocal deaths
        if deaths < 50 and chance.random() < 0.9:
            deaths += 1
            return chance.choice(["lost", "error", "garbage", "hang"])
        return "rows"

    draw(Cluster(deed=deed), Limits(tries=51, patience=3.0))
    assert deaths == 50


@pytest.mark.parametrize("deed", ["lost", "error", "garbage", "hang"])
def test_a_shard_that_no_replica_can_draw_ends_the_run(deed):
    """With its first request and the last reason."""
    cluster = Cluster(deed=lambda replica, shard: deed if shard == 4 else "rows")
    with pytest.raises(GateError, match=r"request 12 failed 3 times \(limit `tries`"):
        draw(cluster)


def test_what_a_replica_refuses_is_refused_at_once():
    """Another replica would refuse it as well."""
    cluster = Cluster(deed=lambda replica, shard: "refused" if shard == 1 else "rows")
    with pytest.raises(InputError, match="it does not fit"):
        draw(cluster)
    assert cluster.number == 3


@pytest.mark.parametrize("start", ["lost", "hang"])
def test_replicas_that_cannot_start_end_the_run(start):
    """After some tries in a row; a single failure among others does not."""
    with pytest.raises(GateError, match=r"3 in a row could not start.*(no device|start after 5 s)"):
        draw(Cluster(starts=lambda replica: start))
    draw(Cluster(starts=lambda replica: start if replica == 2 else "ready"))


def test_replicas_that_wait_for_devices_keep_nobody_from_working():
    """However long: other work may hold them, or there are fewer than were asked for."""
    cluster = Cluster(count=6, starts=lambda replica: "ready" if replica == 1 else "wait")
    pool = draw(cluster, Limits(patience=2.0))
    assert cluster.now > 10
    assert cluster.number == 6
    assert pool.replaced == 0


def test_a_cluster_without_any_room_is_told():
    """Nothing would ever happen."""
    with pytest.raises(GateError, match=r"none has found a place within 5 s \(`patience`"):
        draw(Cluster(starts=lambda replica: "wait"))


def test_threads_take_turns():
    """Each gets its own rows; alone they would take each other's events."""
    cluster = Cluster()
    pool = Pool(cluster, Limits(patience=50.0), clock=lambda: cluster.now)
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(draw, cluster, pool=pool) for _ in range(2)]
        assert [one.result(timeout=60) for one in both] == [pool, pool]


def test_replicas_that_join_later_help():
    """The wanted number is asked for again and again."""
    cluster = Cluster(count=1)

    def deed(replica, shard):
        cluster.count = 4
        return "rows"

    cluster.deed = deed
    draw(cluster)
    assert cluster.number == 4


def test_nothing_to_do_starts_nobody_twice():
    """An empty call ends at once."""
    cluster = Cluster()
    pool = Pool(cluster, Limits())
    assert list(pool.run([], call, fault)) == []
    assert cluster.number == 0
