"""Sampling and judging by replicas of another engine, on the devices of a cluster."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from srlm_kedro.display.progress import Progress
from srlm_kedro.engines.cluster import probe_of
from srlm_kedro.engines.generation.base import (
    Choices,
    Completion,
    GenerationEngine,
    Request,
    Sampling,
)
from srlm_kedro.engines.generation.replicas.pool import Limits, Pool
from srlm_kedro.engines.generation.replicas.ray_workers import (
    Placement,
    RayWorkers,
)
from srlm_kedro.engines.generation.shard_calls import ShardCall, shards_of
from srlm_kedro.params import Count, Retries, Seconds
from srlm_kedro.records import Checkpoint

_Amount = Annotated[float, Field(ge=0, le=1024)]


class ReplicatedEngine:
    """Asks N replicas of another engine, each a process with devices of its own.

    The rows are those of one replica that is asked for the same shards. This process touches no
    device: it only reads tokenizers.
    """

    UNBUILT = ("replica",)
    """Arguments that are engines, and that are handed over as what builds them."""

    def __init__(
        self,
        replica: Callable[[], GenerationEngine],
        folder: str,
        replicas: Count | Literal["auto"] = "auto",
        cpus: _Amount = 1.0,
        gpus: _Amount = 0.0,
        address: str | None = None,
        completions: Count = 512,
        tries: Retries = 3,
        patience: Seconds | None = 3600.0,
    ):
        """Names the engine and its places; nothing is started yet.

        Args:
            replica: The engine of a replica, as an entry of the catalog with `engine` and
                `options`.
            folder: A folder that all nodes see at the same place.
            replicas: How many; `auto` takes as many as the cluster has room for.
            cpus: Of each replica.
            gpus: Of each replica; a part of one is possible.
            address: Of a running cluster; `auto` finds the one of this machine. None starts one
                on this machine.
            completions: About how many a shard has, where the entry of the catalog names no
                `shards`. Small ones keep all replicas busy to the end.
            tries: How often a shard may fail, and how often in a row replicas may fail to start.
            patience: Seconds that a replica may take to start or to draw a shard; None: any.
        """
        self._build = replica
        self._folder = Path(folder)
        self._placement = Placement(replicas, cpus, gpus, address)
        self._completions, self._limits = completions, Limits(tries, patience)
        self._local: GenerationEngine | None = None
        self._pool: Pool | None = None

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of `sampling.n` completions, one row per request.

        Raises:
            InputError: What the engine of a replica refuses; or the cluster lacks something.
            GateError: A shard failed too often, or replicas cannot start.
        """
        return self._rows(ShardCall("generate", model, (sampling, seed), sampling.n), requests)

    def choice_logprobs(
        self, model: Checkpoint, requests: Sequence[Request], choices: Choices
    ) -> list[list[float]]:
        """The log-probability of each choice, one row per request; raises as `generate`."""
        return self._rows(ShardCall("choice_logprobs", model, (choices,), len(choices)), requests)

    def in_any_order(
        self, shards: Sequence[Sequence[Request]], call: ShardCall
    ) -> Iterator[tuple[int, list[Any]]]:
        """The place and the rows of each shard, as they are drawn."""
        return self._started().run(shards, call, call.fault) if shards else iter(())

    def length_faults(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling
    ) -> list[str]:
        """The engine's own answer, asked in this process."""
        return self._here().length_faults(model, requests, sampling)

    def refuse_unfit(self, model: Checkpoint) -> None:
        """Raises InputError if the engine knows that it cannot sample from the model."""
        if hasattr(self._here(), "refuse_unfit"):
            self._here().refuse_unfit(model)

    def refuse_unready(self) -> None:
        """Raises InputError if the cluster is not there or lacks what a replica needs."""
        self._started()

    def release(self) -> None:
        """Ends all replicas: their devices are free."""
        if self._pool is not None:
            self._pool.stop()

    def _rows(self, call: ShardCall, requests: Sequence[Request]) -> list[Any]:
        shards = shards_of(requests, self._completions, call.width)
        found: list[list[Any]] = [[] for _ in shards]
        with Progress(call.model.name, len(requests) * call.width) as progress:
            for place, rows in self.in_any_order(shards, call):
                found[place] = rows
                progress.add(len(rows) * call.width)
        return [row for rows in found for row in rows]

    def _here(self) -> GenerationEngine:
        """An engine in this process, which is asked nothing that needs a device."""
        if self._local is None:
            self._local = self._build()
        return self._local

    def _started(self) -> Pool:
        if self._pool is None:
            workers = RayWorkers(self._build, self._placement, probe_of(self._folder))
            self._pool = Pool(workers, self._limits)
        return self._pool
