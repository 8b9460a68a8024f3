"""Shards drawn by replicas that may die, hang or answer garbage: each of those is replaced."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from srlm_kedro.engines.generation.replicas.queue import Exhausted, ShardQueue
from srlm_kedro.errors import GateError, InputError

_log = logging.getLogger(__name__)

Call = Callable[[Any, Any], Any]
"""Takes an engine and a shard of requests, and gives the shard's rows."""


@dataclass(frozen=True)
class Event:
    """What happened to a replica."""

    replica: int
    kind: Literal["placed", "ready", "rows", "error", "lost"]
    """`placed`: it has its devices, and starts. `error`: it raised an error and lives. `lost`: it
    died, or could not start."""
    ticket: int | None = None
    """Of the work that has ended, see `Workers.send`."""
    value: Any = None
    """The rows, or the error."""


class Workers(Protocol):
    """Starts replicas and brings them work; nothing here waits, except `events`."""

    def start(self) -> int:
        """Asks for a new replica; its number is used once.

        It is `placed` once there are devices for it, and later `ready`, or it is `lost`.
        """
        ...

    def send(self, replica: int, call: Call, ticket: int, requests: Any) -> None:
        """Gives a replica work; it works on what it was given in that order.

        Args:
            replica: Its number.
            call: What it does.
            ticket: The number of this work, used once.
            requests: A shard.
        """
        ...

    def events(self, timeout: float) -> Sequence[Event]:
        """What has happened since the last call; waits so many seconds if nothing has."""
        ...

    def stop(self, replicas: Sequence[int]) -> None:
        """Ends replicas, whatever they do; nothing more is heard of them."""
        ...

    def wanted(self) -> int:
        """How many replicas there shall be now."""
        ...


@dataclass(frozen=True)
class Limits:
    """When a pool loses its patience."""

    tries: int = 3
    """How often a shard may fail, and how often in a row replicas may fail to start."""
    patience: float | None = 3600.0
    """Seconds that a replica may work on a shard, or take to start; None: any."""


@dataclass
class _Replica:
    """One replica, and since when it has been busy with what it does."""

    since: float
    placed: bool = False
    ready: bool = False


class Pool:
    """Keeps as many replicas as are wanted at work."""

    def __init__(
        self, workers: Workers, limits: Limits, clock: Callable[[], float] = time.monotonic
    ):
        """Starts nothing yet.

        Args:
            workers: Starts and stops replicas.
            limits: Of tries and time.
            clock: Gives seconds.
        """
        self._workers, self._limits, self._clock = workers, limits, clock
        self._replicas: dict[int, _Replica] = {}
        self._failed_starts = 0
        self._tickets = itertools.count()
        self._lock = threading.RLock()
        self.replaced = 0

    def run(
        self,
        shards: Sequence[Any],
        call: Call,
        fault: Callable[[Any, Any], str | None],
    ) -> Iterator[tuple[int, Any]]:
        """The place and the rows of each shard, as they are drawn.

        Another thread waits until all are drawn.

        Args:
            shards: Of requests.
            call: What a replica does with a shard.
            fault: Takes a shard and its rows, and says what is wrong with these.

        Raises:
            InputError: A replica refuses its options, its model or a shard.
            GateError: A shard failed too often, or replicas cannot start.
        """
        work = _Work(ShardQueue(range(len(shards)), self._limits.tries), shards, call, fault)
        with self._lock:
            if shards:
                self._fill()
            for replica, state in self._replicas.items():
                if state.ready:
                    self._feed(work, replica)
            while not work.queue.finished:
                for event in self._workers.events(self._pause()):
                    if event.replica in self._replicas:
                        yield from self._take(work, event)
                self._stop_hanging(work)
                self._fill()

    def stop(self) -> None:
        """Ends all replicas."""
        with self._lock:
            self._workers.stop(list(self._replicas))
            self._replicas.clear()

    def _take(self, work: "_Work", event: Event) -> Iterator[tuple[int, Any]]:
        replica, now = event.replica, self._clock()
        state = self._replicas[replica]
        state.since = now
        if event.kind == "placed":
            state.placed = True
        elif event.kind == "ready":
            state.placed = state.ready = True
            self._failed_starts = 0
        elif event.kind == "lost":
            if isinstance(event.value, InputError):
                raise event.value
            self._lose(work, replica, str(event.value))
        elif (shard := work.tickets.pop(event.ticket, None)) is None:
            pass  # The end of a copy that an earlier call no longer needed.
        elif event.kind == "rows":
            self._failed_starts = 0
            if wrong := work.fault(work.shards[shard], event.value):
                self._fail(work, replica, shard, wrong)
            elif work.queue.end(replica, shard):
                yield shard, event.value
        elif isinstance(event.value, InputError):
            raise event.value
        else:
            self._fail(work, replica, shard, str(event.value))
        for name, each in self._replicas.items():
            if each.ready and (name == replica or not work.queue.held_by(name)):
                self._feed(work, name)

    def _feed(self, work: "_Work", replica: int) -> None:
        """Gives a replica work until it has enough."""
        if not work.queue.held_by(replica):
            self._replicas[replica].since = self._clock()
        while (shard := work.queue.take(replica)) is not None:
            ticket = next(self._tickets)
            work.tickets[ticket] = shard
            self._workers.send(replica, work.call, ticket, work.shards[shard])

    def _fail(self, work: "_Work", replica: int, shard: int, why: str) -> None:
        """A shard failed on a replica, which is replaced: it may be what is wrong."""
        self._count(work, why, lambda: work.queue.fail(replica, shard))
        work.queue.give_back(replica)
        self._replace(replica, f"shard {shard} failed there: {why}")

    def _lose(self, work: "_Work", replica: int, why: str) -> None:
        if not self._replicas[replica].ready:
            self._failed_starts += 1
            if self._failed_starts >= self._limits.tries:
                raise GateError(
                    f"replicas: {self._failed_starts} in a row could not start (limit `tries` of "
                    f"the engine's `replicas`). The last one: {why}"
                )
        self._count(work, why, lambda: work.queue.lose(replica))
        self._replace(replica, why)

    def _count(self, work: "_Work", why: str, failing: Callable[[], None]) -> None:
        try:
            failing()
        except Exhausted as error:
            first = next(iter(work.shards[error.shard]), None)
            raise GateError(
                f"replicas: the shard that begins with request {getattr(first, 'id', first)} "
                f"failed {error.tries} times (limit `tries` of the engine's `replicas`). The last "
                f"time: {why}"
            ) from error

    def _replace(self, replica: int, why: str) -> None:
        _log.warning("Replica %d is replaced. %s", replica, why)
        self.replaced += 1
        self._workers.stop([replica])
        del self._replicas[replica]

    def _fill(self) -> None:
        """Asks for as many replicas as are wanted."""
        for _ in range(self._workers.wanted() - len(self._replicas)):
            self._replicas[self._workers.start()] = _Replica(self._clock())

    def _stop_hanging(self, work: "_Work") -> None:
        patience, now = self._limits.patience, self._clock()
        if patience is not None:
            self._refuse_no_place(patience, now)
        for replica, state in list(self._replicas.items()):
            # One that waits for devices takes none from the others.
            busy = state.placed and (not state.ready or work.queue.held_by(replica))
            if patience is not None and busy and now - state.since > patience:
                what = "work on its shard" if state.ready else "start"
                self._lose(work, replica, f"It had not ended its {what} after {patience:g} s.")

    def _refuse_no_place(self, patience: float, now: float) -> None:
        """Raises GateError if for so long no replica at all has found a place."""
        waiting = [one for one in self._replicas.values() if not one.placed]
        longest = max((now - one.since for one in waiting), default=0.0)
        if len(waiting) == len(self._replicas) and longest > patience:
            raise GateError(
                f"replicas: none has found a place within {patience:g} s (`patience` of the "
                "engine's `replicas`). Other work holds the devices, or no node has as many as one "
                "needs."
            )

    def _pause(self) -> float:
        """Seconds to wait for an event: not longer than until somebody hangs."""
        return min(1.0, self._limits.patience or 1.0)


@dataclass
class _Work:
    """One call's shards, and where they are."""

    queue: ShardQueue
    shards: Sequence[Any]
    call: Call
    fault: Callable[[Any, Any], str | None]
    tickets: dict[int | None, int] = field(default_factory=dict)
    """The shard of each work that was sent."""
