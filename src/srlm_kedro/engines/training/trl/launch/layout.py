"""How many ranks train, and on which nodes; it also starts them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from srlm_kedro.engines import machine
from srlm_kedro.engines.cluster import (
    connected,
    devices_of_nodes,
    refuse_without_room,
    resources_of_nodes,
)
from srlm_kedro.engines.training.trl.launch.ray_nodes import RayNodes
from srlm_kedro.engines.training.trl.launch.torchrun import Torchrun
from srlm_kedro.errors import InputError

_PATIENCE = 60.0
"""Seconds in which a node's GPU must say how much memory it has."""
Amount = int | Literal["auto"]


@dataclass(frozen=True)
class Layout:
    """The ranks and their places, as the engine's entry in the catalog names them."""

    ranks: Amount = 1
    nodes: Amount = 1
    copies: int = 1
    """Of the weights."""
    cpu: bool | None = True
    """Whether a rank needs a CPU; otherwise it needs a GPU. None: a GPU if the cluster has one."""
    threads: int | None = None
    """Of a rank on a CPU; None: all."""
    address: str = "auto"
    """Of the cluster, if there are several nodes."""
    patience: float = 600.0
    """Seconds that the cluster may take to have room."""

    @property
    def elsewhere(self) -> bool:
        """Whether ranks are on nodes of a cluster, of which this machine may be none."""
        return self.nodes != 1

    @cached_property
    def on_cpu(self) -> bool:
        """Whether a rank needs a CPU; otherwise it needs a GPU.

        Raises:
            InputError: No cluster answers.
        """
        return not any(devices_of_nodes(self.address, "GPU")) if self.cpu is None else self.cpu

    @property
    def _kind(self) -> str:
        return "CPU" if self.on_cpu else "GPU"

    def size(self, rows: int) -> tuple[int, int]:
        """Ranks and nodes for steps of so many rows; `auto` gives each rank a row at least.

        Raises:
            InputError: No cluster answers, or the devices cannot be divided so.
        """
        nodes, each = self._room(rows)
        ranks = nodes * max(1, min(each, rows // nodes)) if self.ranks == "auto" else self.ranks
        if ranks % nodes or ranks % self.copies:
            raise InputError(
                f"The training engine's ranks = {ranks} must be a multiple of nodes = {nodes} and "
                f"of copies = {self.copies}. Correct its entry in the catalog."
            )
        return ranks, nodes

    def refuse_unready(self) -> None:
        """Raises InputError if the ranks cannot be laid out, or their devices are not there."""
        ranks, nodes = self.size(rows=10**9)
        if self.elsewhere:
            refuse_without_room(self.address, nodes, ranks // nodes, self._kind)
        elif ranks > 1 and not self.on_cpu and ranks > (found := torch.cuda.device_count()):
            raise InputError(
                f"The training engine's {ranks} ranks need as many GPUs, and this machine has "
                f"{found}. Lower `ranks`, or name `nodes` of a cluster."
            )

    def memory(self, ranks: int, nodes: int) -> float | None:
        """Bytes that each rank has on its device at most; None if that cannot be known.

        Raises:
            InputError: No cluster answers.
        """
        if self.on_cpu:
            held = self._memory_of_nodes() if self.elsewhere else machine.memory()
            return held / (ranks // nodes)
        return self._memory_of_gpu() if self.elsewhere else _gpu_memory()

    def start(self, folder: Path, ranks: int, nodes: int) -> Torchrun | RayNodes:
        """Starts them for a job folder."""
        if not self.elsewhere:
            return Torchrun(folder, ranks)
        return RayNodes(folder, ranks, nodes, not self.on_cpu, self.address, self.patience)

    def _memory_of_nodes(self) -> float:
        """Bytes of the node that has the least."""
        return min(one.get("memory", 0.0) for one in resources_of_nodes(self.address))

    def _memory_of_gpu(self) -> float | None:
        """Bytes of a GPU on some node; None if none is free to be asked."""
        ray = connected(self.address)
        try:
            return ray.get(ray.remote(num_gpus=1)(_gpu_memory).remote(), timeout=_PATIENCE)
        except ray.exceptions.RayError:
            return None

    def _room(self, rows: int) -> tuple[int, int]:
        """How many nodes are taken, at most one for each row, and the ranks each has room for."""
        if not self.elsewhere:
            devices = (os.cpu_count() or 1) if self.on_cpu else torch.cuda.device_count()
            return 1, self._ranks_of([devices])
        held = [one for one in devices_of_nodes(self.address, self._kind) if one >= 1]
        nodes = max(1, min(len(held), rows)) if self.nodes == "auto" else self.nodes
        return nodes, self._ranks_of(sorted(held, reverse=True)[:nodes])

    def _ranks_of(self, devices: Iterable[float]) -> int:
        least = int(min(devices, default=1))
        needed = (self.threads or least) if self.on_cpu else 1
        return max(1, least // max(1, needed))


def _gpu_memory() -> float:
    return float(torch.cuda.get_device_properties(0).total_memory)
