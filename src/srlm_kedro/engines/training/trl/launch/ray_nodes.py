"""Ranks on several nodes of a cluster: Ray places one actor on each, which starts torchrun."""

import os
import time
from pathlib import Path
from typing import Any

from srlm_kedro.engines.cluster import Probe, connected, probe_of, refuse_without_room
from srlm_kedro.engines.machine import free_port
from srlm_kedro.engines.training.trl.launch.torchrun import Torchrun
from srlm_kedro.errors import GateError

_PAUSE = 0.2


class Node:
    """An actor that runs the ranks of one node; they end with it."""

    def meeting_place(self, probe: Probe) -> tuple[str, int]:
        """The address of this node, and a port that is free there.

        Raises:
            InputError: The node differs from the driver's.
        """
        import ray

        probe.refuse_difference()
        return ray.util.get_node_ip_address(), free_port("")

    def run(self, folder: Path, ranks: int, where: list[str]) -> int:
        """Runs torchrun to its end, and gives its exit status."""
        import ray

        if interface := _interface_of(ray.util.get_node_ip_address()):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        running = Torchrun(folder, ranks, where)
        while not running.ended():
            time.sleep(_PAUSE)
        return running.program.status or 0


class RayNodes:
    """Ranks at work on several nodes, the same number on each."""

    def __init__(
        self, folder: Path, ranks: int, nodes: int, gpus: bool, address: str, patience: float
    ):
        """Places the actors and starts the ranks.

        Args:
            folder: Of the job, on a disk that all nodes see.
            ranks: On all nodes together; a multiple of `nodes`.
            nodes: How many.
            gpus: Whether each rank needs a GPU; otherwise it needs a CPU.
            address: Of the cluster.
            patience: Seconds that the cluster may take to have room on so many nodes.

        Raises:
            InputError: No cluster answers, it is too small, or a node differs from the driver's.
            GateError: Other work held the cluster's devices for too long.
        """
        self._ray = ray = connected(address)
        kind, each = "GPU" if gpus else "CPU", ranks // nodes
        refuse_without_room(address, nodes, each, kind)
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self._group = ray.util.placement_group([{kind: each}] * nodes, strategy="STRICT_SPREAD")
        if not self._group.wait(patience):
            self._remove_group()
            raise GateError(
                f"ranks: the cluster at {address} had no {nodes} nodes with {each} free {kind}s "
                f"each within {patience:g} s (`patience` of the training engine). Other work "
                "holds them."
            )
        options = {"num_gpus": each, "num_cpus": 0} if gpus else {"num_cpus": each}
        self._actors = [
            ray.remote(Node)
            .options(
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    placement_group=self._group, placement_group_bundle_index=place
                ),
                **options,
            )
            .remote()
            for place in range(nodes)
        ]
        self._running = self._start(folder, each, probe_of(folder))

    def ended(self) -> bool:
        """Whether all nodes have ended, or one of them has failed or is gone."""
        done, left = self._ray.wait(self._running, num_returns=len(self._running), timeout=0)
        try:
            return not left or any(self._ray.get(done))
        except self._ray.exceptions.RayError:
            return True

    def close(self) -> None:
        """Ends all actors; their ranks end with them."""
        for actor in self._actors:
            self._ray.kill(actor)
        self._remove_group()

    def _start(self, folder: Path, each: int, probe: Probe) -> list[Any]:
        try:
            places = self._ray.get([one.meeting_place.remote(probe) for one in self._actors])
        except self._ray.exceptions.RayTaskError as error:
            self.close()
            raise (error.cause or error) from None
        except self._ray.exceptions.RayError:
            return []  # a node has died already
        host, port = places[0]
        where = ["--nnodes", str(len(places)), "--master-addr", host, "--master-port", str(port)]
        return [
            actor.run.remote(folder, each, [*where, "--node-rank", str(place)])
            for place, actor in enumerate(self._actors)
        ]

    def _remove_group(self) -> None:
        self._ray.util.remove_placement_group(self._group)


def _interface_of(address: str) -> str | None:
    """The network interface that has an address.

    gloo takes the one that the host's name leads to, which on many systems is the loopback.
    """
    import psutil  # only ranks on several nodes need it

    found = psutil.net_if_addrs().items()
    return next((name for name, has in found if address in [one.address for one in has]), None)
