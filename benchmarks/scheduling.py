"""The queue of shards by simulation: many replicas, some slow, some lost, against the bound.

Time is simulated: an event for each shard that ends, and for each replica that is lost or comes
back. The bound is when the replicas that are alive could have done all work if it could be cut
into single tokens, lost work not repeated.
"""

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.report import Cell, Table
from benchmarks.rounds import Setting
from benchmarks.targets import Target
from srlm_kedro.engines.generation.replicas.queue import ShardQueue

RATE = 6443.0
"""Tokens a second of a replica: vLLM with Qwen3-8B on one H100, as datatrove published it."""
_MEAN, _SPREAD = 230.0, 0.6
"""Tokens of a completion: mean, and deviation of the logarithm."""
REQUESTS, _QUICK = 1_000_000, 200_000
SHARDS, DEFAULT = (256, 512, 1024, 4096), 512
BOUND = Target(1.05, at_least=False)
_NOTE = (
    f"Simulated: each replica draws {RATE:,.0f} tokens a second (vLLM with Qwen3-8B on one H100, "
    "as datatrove published it), completions have 230 tokens on average (log-normal, 0.6). The "
    "bound is when the replicas that are alive could have drawn all tokens, if work could be cut "
    "into single tokens and nothing were lost. Shards of 512 are the default."
)


@dataclass(frozen=True)
class Scenario:
    """What happens to the replicas."""

    name: str
    replicas: int = 64
    slow: float = 0.0
    """The share of replicas that have a third of the speed."""
    lost_every: float | None = None
    """Seconds between two losses."""
    away: float = 120.0
    """Seconds until the successor of a lost replica has loaded its model."""


SCENARIOS = (
    Scenario("all alike"),
    Scenario("one in ten at a third of the speed", slow=0.1),
    Scenario("one lost a minute, back after two", lost_every=60),
    Scenario("both", slow=0.1, lost_every=60),
)

_Event = tuple[float, int, Literal["end", "lose", "join"], int, int]


@dataclass
class _Cluster:
    """Replicas in simulated time."""

    scenario: Scenario
    work: Sequence[float]
    """Tokens of each shard."""
    chance: random.Random
    queue: ShardQueue = field(init=False)
    rates: dict[int, float] = field(default_factory=dict)
    """Tokens a second of each replica that is alive."""
    busy: set[int] = field(default_factory=set)
    """Those that work on a shard."""
    events: list[_Event] = field(default_factory=list)
    joined: int = 0
    numbers: int = 0
    done: float = 0.0
    """Tokens that the replicas that were alive could have drawn."""

    def __post_init__(self) -> None:
        self.queue = ShardQueue(range(len(self.work)), tries=len(self.work))

    def makespan(self) -> tuple[float, float]:
        """When the last shard ends, and the bound."""
        for _ in range(self.scenario.replicas):
            self._join(0.0)
        if self.scenario.lost_every:
            self._plan(self.scenario.lost_every, "lose")
        now, bound, total = 0.0, None, sum(self.work)
        while not self.queue.finished:
            time, _, kind, replica, shard = heapq.heappop(self.events)
            capacity = sum(self.rates.values())
            if bound is None and self.done + capacity * (time - now) >= total:
                bound = now + (total - self.done) / capacity
            self.done += capacity * (time - now)
            now = time
            if kind == "join":
                self._join(now)
            elif kind == "lose":
                self._lose(now)
            elif replica in self.rates:
                self.busy.discard(replica)
                self.queue.end(replica, shard)
                self._start(replica, now)
        return now, now if bound is None else bound

    def _join(self, now: float) -> None:
        slow = self.chance.random() < self.scenario.slow
        self.joined += 1
        self.rates[self.joined] = RATE / 3 if slow else RATE
        self._start(self.joined, now)

    def _lose(self, now: float) -> None:
        lost = self.chance.choice(sorted(self.rates))
        del self.rates[lost]
        self.busy.discard(lost)
        self.queue.lose(lost)
        self._plan(now + self.scenario.away, "join")
        assert self.scenario.lost_every is not None
        self._plan(now + self.scenario.lost_every, "lose")
        for replica in self.rates:
            if replica not in self.busy:
                self._start(replica, now)

    def _start(self, replica: int, now: float) -> None:
        """Fills an idle replica up; it works on what it holds first."""
        while self.queue.take(replica) is not None:
            pass
        for shard in self.queue.held_by(replica)[:1]:
            self.busy.add(replica)
            self._plan(now + self.work[shard] / self.rates[replica], "end", replica, shard)

    def _plan(
        self, time: float, kind: Literal["end", "lose", "join"], replica: int = 0, shard: int = 0
    ) -> None:
        self.numbers += 1
        heapq.heappush(self.events, (time, self.numbers, kind, replica, shard))


def simulate(
    scenario: Scenario, requests: int, completions: int, seed: int = 1
) -> tuple[float, float]:
    """Makespan and bound in seconds, for shards of so many completions."""
    chance = random.Random(seed)
    middle = _MEAN / math.exp(_SPREAD**2 / 2)
    work = []
    for first in range(0, requests, completions):
        count = min(completions, requests - first)
        work.append(sum(middle * chance.lognormvariate(0, _SPREAD) for _ in range(count)))
    return _Cluster(scenario, work, chance).makespan()


def run(setting: Setting) -> Iterator[Table]:
    """A row for each scenario and size of a shard: makespan, bound, and one over the other."""
    requests = _QUICK if setting.quick else REQUESTS
    rows: list[dict[str, Cell]] = []
    for scenario in SCENARIOS:
        for completions in SHARDS:
            makespan, bound = simulate(scenario, requests, completions)
            rows.append(
                {
                    "64 replicas": scenario.name,
                    "completions of a shard": completions,
                    "makespan [s]": makespan,
                    "bound [s]": bound,
                    "times the bound": makespan / bound,
                    "target": str(BOUND) if completions == DEFAULT else None,
                    "met": BOUND.met(makespan / bound) if completions == DEFAULT else None,
                }
            )
            setting.say(f"  {scenario.name}, {completions}: {makespan / bound:.3f}")
    yield Table(f"Replicas: {requests:,} completions by simulation", rows, [_NOTE])
