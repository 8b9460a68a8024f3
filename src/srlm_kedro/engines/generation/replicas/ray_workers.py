"""Replicas as actors of Ray, which places them on devices and says when one has died."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from srlm_kedro.display.safe_text import one_line
from srlm_kedro.engines.cluster import Probe, connected, resources_of_nodes, told_devices
from srlm_kedro.engines.generation.replicas.pool import Call, Event
from srlm_kedro.errors import InputError

_SECONDS_TO_RELEASE = 10.0
"""Seconds that replicas have to free their devices before they are killed."""
_LONGEST = 300
"""Characters that a message shows of what Ray says."""


@dataclass(frozen=True)
class Placement:
    """How many replicas there are, and what each needs."""

    count: int | Literal["auto"] = "auto"
    """`auto`: as many as the cluster has room for, also when nodes join."""
    cpus: float = 1.0
    gpus: float | Literal["auto"] = "auto"
    """`auto`: one, if any node has one."""
    address: str | None = None
    """Of a running cluster; `auto` finds the one of this machine. None starts one here."""
    at_once: int = 1
    """Calls that a replica works on at the same time."""


class Replica:
    """An engine in a process of its own."""

    def __init__(self, build: Callable[[], Any], probe: Probe):
        """Takes what builds the engine; nothing is built yet."""
        self._build, self._probe = build, probe
        self._engine: Any = None

    def start(self) -> None:
        """Builds the engine.

        Raises:
            InputError: This node differs from the driver's, or the engine refuses its options.
        """
        self._probe.refuse_difference()
        self._engine = self._build()

    def process(self) -> int:
        """The number of its process."""
        return os.getpid()

    def release(self) -> None:
        """Frees the engine's devices."""
        if self._engine is not None:
            self._engine.release()

    def draw(self, call: Call, requests: Any) -> Any:
        """What the call gives for a shard."""
        return call(self._engine, requests)


@dataclass(frozen=True)
class _Awaited:
    replica: int
    kind: Literal["placed", "ready", "rows"]
    ticket: int | None


class RayWorkers:
    """Starts replicas and brings them work; see `pool.Workers`."""

    def __init__(self, build: Callable[[], Any], placement: Placement, probe: Probe):
        """Connects to the cluster, or starts one on this machine.

        Args:
            build: Builds the engine of a replica, in its process.
            placement: How many, and where.
            probe: What is compared first.

        Raises:
            InputError: Ray is not installed, no cluster answers, or a replica needs more than the
                cluster has.
        """
        self._ray = connected(placement.address)
        self._build, self._placement, self._probe = build, placement, probe
        self._gpus = float(self._had("GPU") > 0) if placement.gpus == "auto" else placement.gpus
        self._class = self._ray.remote(Replica)
        self._actors: dict[int, Any] = {}
        self._awaited: dict[Any, _Awaited] = {}
        self._started = 0
        if not self._room():
            have = told_devices(resources_of_nodes(placement.address))
            raise InputError(
                f"replicas: one needs {placement.cpus:g} CPUs and {self._gpus:g} GPUs of a node, "
                f"and the nodes have {have}. Lower `cpus` or `gpus` of the engine's `replicas` in "
                "the catalog."
            )

    def wanted(self) -> int:
        """How many replicas there shall be: the number set, or what the cluster has room for."""
        if self._placement.count == "auto":
            return max(self._room(), 1)
        return self._placement.count

    def start(self) -> int:
        """Asks for a new actor; it starts when Ray has found a place for it."""
        self._started += 1
        options = {"num_cpus": self._placement.cpus, "num_gpus": self._gpus}
        # A dead actor is not restarted by Ray: its successor is a new one, which gets no work
        # before it has started.
        actor = self._class.options(
            **options, max_restarts=0, max_concurrency=self._placement.at_once
        ).remote(self._build, self._probe)
        self._actors[self._started] = actor
        self._await(actor.process.remote(), _Awaited(self._started, "placed", None))
        self._await(actor.start.remote(), _Awaited(self._started, "ready", None))
        return self._started

    def send(self, replica: int, call: Call, ticket: int, requests: Any) -> None:
        """Calls the actor, which begins its calls in their order."""
        reference = self._actors[replica].draw.remote(call, requests)
        self._await(reference, _Awaited(replica, "rows", ticket))

    def events(self, timeout: float) -> Sequence[Event]:
        """What has ended."""
        if not self._awaited:
            return []
        self._ray.wait(list(self._awaited), num_returns=1, timeout=timeout)
        count = len(self._awaited)
        ended, _ = self._ray.wait(list(self._awaited), num_returns=count, timeout=0)
        return [self._event(reference) for reference in ended if reference in self._awaited]

    def stop(self, replicas: Sequence[int]) -> None:
        """Lets the engines free their devices, if they still answer, and kills the actors."""
        actors = [self._actors.pop(replica) for replica in replicas]
        ends = [actor.release.remote() for actor in actors]
        if ends:
            self._ray.wait(ends, num_returns=len(ends), timeout=_SECONDS_TO_RELEASE)
        for actor in actors:
            self._ray.kill(actor, no_restart=True)
        self._awaited = {
            reference: one
            for reference, one in self._awaited.items()
            if one.replica not in replicas
        }

    def _await(self, reference: Any, awaited: _Awaited) -> None:
        self._awaited[reference] = awaited

    def _event(self, reference: Any) -> Event:
        awaited = self._awaited.pop(reference)
        errors = self._ray.exceptions
        try:
            value = self._ray.get(reference)
        except errors.RayTaskError as error:
            kind: Literal["lost", "error"] = "error" if awaited.kind == "rows" else "lost"
            return Event(awaited.replica, kind, awaited.ticket, error.cause or _told(error))
        except errors.RayError as error:
            return Event(awaited.replica, "lost", awaited.ticket, _told(error))
        return Event(awaited.replica, awaited.kind, awaited.ticket, value)

    def _room(self) -> int:
        """Replicas that the nodes of the cluster have room for."""
        needs = {"CPU": self._placement.cpus, "GPU": self._gpus}
        wanted = {name: need for name, need in needs.items() if need}
        alive = resources_of_nodes(self._placement.address)
        return sum(
            min((fits(node.get(name, 0), need) for name, need in wanted.items()), default=1)
            for node in alive
        )

    def _had(self, name: str) -> float:
        return float(self._ray.cluster_resources().get(name, 0))


def fits(held: float, need: float) -> int:
    """How often a need fits into what is held: a fifth five times into one, despite rounding."""
    return int(held / need + 1e-6)


def _told(error: Exception) -> str:
    """The end of what Ray says of a death: its first lines are a trace or describe the actor."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return one_line(lines[-1], _LONGEST)
