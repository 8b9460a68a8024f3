"""Replicas of a generation engine, each a process with devices of its own on a cluster."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from srlm_kedro.engines.cluster import probe_of
from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.engines.generation.replicas.pool import Limits, Pool
from srlm_kedro.engines.generation.replicas.ray_workers import Placement, RayWorkers
from srlm_kedro.engines.generation.shard_calls import ShardCall
from srlm_kedro.params import Count, Retries, Seconds
from srlm_kedro.records import Checkpoint

_Amount = Annotated[float, Field(ge=0, le=1024)]


class Replicas:
    """Draws shards by N replicas of an engine, which are started when there is work."""

    def __init__(
        self,
        build: Callable[[], GenerationEngine],
        folder: Path | str,
        count: Count | Literal["auto"] = "auto",
        cpus: _Amount = 1.0,
        gpus: _Amount | Literal["auto"] = "auto",
        address: str | None = None,
        tries: Retries = 3,
        patience: Seconds | None = 3600.0,
        at_once: Count = 1,
    ):
        """Names the engine and its places; nothing is started yet.

        Args:
            build: Builds the engine of a replica, in the replica's process.
            folder: A folder that all nodes see at the same place; a small file is written there.
            count: How many replicas. `auto`: as many as the cluster has room for, also when nodes
                join it later.
            cpus: Of each replica.
            gpus: Of each replica; a part of one is possible. `auto`: one, if any node has one.
            address: Of a running cluster; `auto` finds the one of this machine. null starts one on
                this machine.
            tries: How often a shard may fail, and how often in a row replicas may fail to start.
            patience: Seconds that a replica may take to start or to draw a shard; null: any.
            at_once: Shards that the engine may be asked for at the same time.
        """
        self._build, self._folder = build, Path(folder)
        self._placement = Placement(count, cpus, gpus, address, at_once)
        self._limits = Limits(tries, patience)
        self._pool: Pool | None = None

    def in_any_order(
        self, shards: Sequence[Sequence[Request]], call: ShardCall
    ) -> Iterator[tuple[int, list[Any]]]:
        """The place and the rows of each shard, as they are drawn.

        Raises:
            InputError: What the engine of a replica refuses; or the cluster lacks something.
            GateError: A shard failed too often, or replicas cannot start.
        """
        if not shards:
            return iter(())
        # A replica's working directory may be another one.
        model = Checkpoint(call.model.path.resolve(), call.model.name)
        return self._started().run(shards, dataclasses.replace(call, model=model), call.fault)

    def refuse_unready(self) -> None:
        """Raises InputError if the cluster is not there or lacks what a replica needs."""
        self._started()

    def release(self) -> None:
        """Ends all replicas: their devices are free."""
        if self._pool is not None:
            self._pool.stop()

    def _started(self) -> Pool:
        if self._pool is None:
            workers = RayWorkers(self._build, self._placement, probe_of(self._folder))
            self._pool = Pool(workers, self._limits)
        return self._pool
