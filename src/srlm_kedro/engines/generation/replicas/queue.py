"""Which replica draws which shard: two in flight each, lost ones again, and the last ones twice.

The queue knows neither processes nor clocks. Whoever runs the replicas tells it what happened and
asks what each replica does next, so a simulation uses the same rules as a cluster.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterable

Replica = Hashable
"""A name that is used once: the successor of a lost replica has another one."""


class Exhausted(Exception):  # noqa: N818 (it is no fault of the queue)
    """A shard has failed as often as it may."""

    def __init__(self, shard: int, tries: int):
        """Names the shard and its tries."""
        super().__init__(f"shard {shard} failed {tries} times")
        self.shard, self.tries = shard, tries


class ShardQueue:
    """Hands out shards until each is drawn once.

    A replica holds `in_flight` shards, so that it goes on at once when it ends one. When none are
    left to hand out, a replica without work repeats a shard that another one holds: first one that
    waits there, or else the one that was handed out first. Shards are drawn with their own seeds,
    so both get the same rows, and the first to end counts. Slow, dead and hanging replicas then
    keep nobody waiting.
    """

    def __init__(self, shards: Iterable[int], tries: int, in_flight: int = 2):
        """Sets what there is to do.

        Args:
            shards: The numbers of the shards that are to be drawn, in this order.
            tries: How often a shard may fail.
            in_flight: The most shards that a replica holds.
        """
        self._waiting = deque(shards)
        self._open = set(self._waiting)
        self._tries, self._in_flight = tries, in_flight
        self._held: dict[Replica, list[int]] = {}
        self._holders: dict[int, list[Replica]] = {}
        self._failures: Counter[int] = Counter()

    @property
    def finished(self) -> bool:
        """Whether all shards are drawn."""
        return not self._open

    def held_by(self, replica: Replica) -> tuple[int, ...]:
        """What the replica works on, and what waits there, in the order of handing out."""
        return tuple(self._held.get(replica, ()))

    def take(self, replica: Replica) -> int | None:
        """The next shard for a replica; None if it has enough, or if nothing would help."""
        held = self._held.setdefault(replica, [])
        if len(held) >= self._in_flight:
            return None
        shard = self._next()
        if shard is None and not held:
            shard = self._repeated(replica)
        if shard is not None:
            held.append(shard)
            self._holders.setdefault(shard, []).append(replica)
        return shard

    def end(self, replica: Replica, shard: int) -> bool:
        """The replica has drawn the shard; False if its rows are known already."""
        self._drop(replica, shard)
        if shard not in self._open:
            return False
        self._open.discard(shard)
        return True

    def fail(self, replica: Replica, shard: int) -> None:
        """The replica could not draw the shard, which is then drawn elsewhere or again.

        Raises:
            Exhausted: The shard has failed too often.
        """
        self._drop(replica, shard)
        if shard not in self._open:
            return
        self._failures[shard] += 1
        if self._failures[shard] >= self._tries:
            raise Exhausted(shard, self._failures[shard])
        self._return(shard)

    def lose(self, replica: Replica) -> None:
        """The replica is gone. The shard that it worked on has failed; those that waited have not.

        Raises:
            Exhausted: That shard has failed too often.
        """
        first, *waiting = self._held.get(replica, []) or [None]
        self._held[replica] = waiting
        self.give_back(replica)
        if first is not None:
            self._held[replica] = [first]
            self.fail(replica, first)
            del self._held[replica]

    def give_back(self, replica: Replica) -> None:
        """The replica will not draw what it holds, and nothing has failed."""
        for shard in reversed(self._held.pop(replica, [])):
            self._holders[shard].remove(replica)
            if not self._holders[shard]:
                del self._holders[shard]
            self._return(shard)

    def _next(self) -> int | None:
        while self._waiting:
            shard = self._waiting.popleft()
            if shard in self._open:
                return shard
        return None

    def _repeated(self, replica: Replica) -> int | None:
        """A shard that one other replica holds: one that waits there, or else the oldest."""
        waiting = (shard for held in self._held.values() for shard in held[1:])
        for shard in (*waiting, *self._holders):
            if shard in self._open and len(self._holders[shard]) == 1:
                return shard
        return None

    def _return(self, shard: int) -> None:
        """Puts a shard back at the front, unless somebody else holds it."""
        if shard in self._open and not self._holders.get(shard):
            self._waiting.appendleft(shard)

    def _drop(self, replica: Replica, shard: int) -> None:
        held = self._held.get(replica, [])
        if shard in held:
            held.remove(shard)
            self._holders[shard].remove(replica)
            if not self._holders[shard]:
                del self._holders[shard]
