"""A cluster of Ray: how it is reached, and what must be the same on all of its nodes."""

import importlib
import os
import platform
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srlm_kedro.errors import InputError

_EXTRA = 'pip install "srlm_kedro[cluster]"'
_reached: dict[str, str | None] = {}
"""What the clusters that this process has reached were called, by their own addresses."""
_PATIENCE = 10.0
"""Seconds in which a cluster must accept a connection."""
_NAMED = "accelerator_type:"
"""Ray names the kind of a node's GPUs as a resource that begins so."""
_PACKAGES = ("srlm_kedro", "ray", "torch", "transformers", "trl", "peft")


def connected(address: str | None) -> Any:
    """Ray's module, connected to a cluster.

    Args:
        address: Of a running cluster; `auto` finds the one of this machine. None starts one here.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    place = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    _show_token(place)
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise InputError(f"a cluster needs Ray, which is not installed ({error}). {_EXTRA}") from (
            error
        )
    if ray.is_initialized():
        _refuse_another(ray, address)
        return ray
    where = {"address": place} if place else {"address": "local", "include_dashboard": False}
    try:
        _refuse_silence(place)
        with _own_handlers():
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises bare ones too
        if not place:
            raise InputError(f"Ray did not start on this machine: {error}") from error
        raise InputError(
            f"no cluster of Ray answers at {place!r} ({error}). Start one with `ray start "
            "--head`, or correct `address` in conf/cluster/globals.yml or the engine's entry. If "
            "the head asks for a token, put its ~/.ray/auth_token on this machine too."
        ) from error
    _reached[_own_address(ray)] = address
    return ray


def _show_token(place: str | None) -> None:
    """Lets Ray show the cluster a token if this machine has one; it reads that when it is imported.

    `ray start --head` asks for a token as soon as its machine has one. Ray shows it by itself where
    it finds the cluster, but not at an address that it is given.
    """
    files = (os.environ.get("RAY_AUTH_TOKEN_PATH"), Path.home() / ".ray/auth_token")
    known = "RAY_AUTH_TOKEN" in os.environ or any(file and Path(file).is_file() for file in files)
    if known and place not in (None, "auto") and "ray" not in sys.modules:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keeps what this process does when it is told to end: Ray would exit at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave() -> None:
    """Ends the connection to a cluster; Ray ends if it was started on this machine for the run."""
    ray = sys.modules.get("ray")
    if _reached and ray is not None and ray.is_initialized():
        ray.shutdown()
    _reached.clear()


def _refuse_another(ray: Any, address: str | None) -> None:
    """Raises InputError if this process is at a cluster that it reached by another address."""
    known = _reached.get(_own_address(ray), address)
    if known != address:
        raise InputError(
            f"this run works on the cluster at {known!r}, and an engine names {address!r} (null "
            "starts one on this machine). Name one `address` for all engines."
        )


def _own_address(ray: Any) -> str:
    return str(ray.get_runtime_context().gcs_address)


def _refuse_silence(address: str | None) -> None:
    """Raises OSError if nothing listens at the address; Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def resources_of_nodes(address: str | None) -> list[dict[str, float]]:
    """What each living node has, free or not, by Ray's names: `CPU`, `GPU`, `memory`, ...

    Args:
        address: Of the cluster; None is the one that was started here.

    Raises:
        InputError: No cluster answers.
    """
    return [one["Resources"] for one in connected(address).nodes() if one["Alive"]]


def told_devices(nodes: Iterable[Mapping[str, float]]) -> str:
    """The CPUs and GPUs of each node, for a message."""
    return ", ".join(f"{one.get('CPU', 0):g} and {one.get('GPU', 0):g}" for one in nodes)


def devices_of_nodes(address: str, kind: str) -> list[float]:
    """How many devices each living node has, free or not.

    Args:
        address: Of the cluster.
        kind: CPU or GPU.

    Raises:
        InputError: No cluster answers.
    """
    return [float(one.get(kind, 0)) for one in resources_of_nodes(address)]


def machines_of(address: str) -> dict[str, float | str]:
    """What a cluster has, for an estimate: `nodes`, `gpus`, `gpu` (their name) and `memory`.

    Args:
        address: Of the cluster.

    Returns:
        Only the nodes with GPUs count, or all if none has one. `memory` is the least of a node, in
        GiB.

    Raises:
        InputError: No cluster answers.
    """
    alive = resources_of_nodes(address)
    nodes = [one for one in alive if one.get("GPU")] or alive
    names = {name.partition(":")[2] for one in nodes for name in one if name.startswith(_NAMED)}
    return {
        "nodes": float(len(nodes)),
        "gpus": float(sum(one.get("GPU", 0) for one in nodes)),
        "gpu": ", ".join(sorted(names)),
        "memory": round(min(one.get("memory", 0) for one in nodes) / 2**30, 1),
    }


def refuse_without_room(address: str, nodes: int, each: int, kind: str) -> None:
    """Checks that the cluster has so many nodes with so many devices, free or not.

    Args:
        address: Of the cluster.
        nodes: How many.
        each: Devices on each.
        kind: CPU or GPU.

    Raises:
        InputError: No cluster answers, or it is too small.
    """
    alive = resources_of_nodes(address)
    if sum(one.get(kind, 0) >= each for one in alive) < nodes:
        raise InputError(
            f"the cluster at {address} has no {nodes} nodes with {each} {kind}s each. CPUs and "
            f"GPUs of its nodes: {told_devices(alive)}. Lower `ranks` or `nodes` of the training "
            "engine, or add nodes."
        )


@dataclass(frozen=True)
class Probe:
    """What a process of the cluster compares with the driver before it works."""

    versions: tuple[tuple[str, str], ...]
    file: Path
    """Written by the driver; it lies on a disk that all nodes must see."""
    content: str

    def refuse_difference(self) -> None:
        """Checks the node of this process.

        Raises:
            InputError: It differs from the driver's.
        """
        here = dict(_versions())
        faults = [
            f"{name} is {here[name]} there and {value} here; install the same version"
            for name, value in self.versions
            if here[name] != value
        ]
        if not self._sees_file():
            faults.append(
                f"it does not see {self.file.parent} as the driver does; put the data folder on a "
                "disk that all nodes mount at the same place"
            )
        if faults:
            raise InputError(f"node {platform.node()}: {'; '.join(faults)}.")

    def _sees_file(self) -> bool:
        try:
            return self.file.read_text("utf-8") == self.content
        except OSError:
            return False


def probe_of(folder: Path) -> Probe:
    """A probe whose file lies in this folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    content = secrets.token_hex(16)
    file = (folder / f"driver-{content}.txt").resolve()
    file.write_text(content, "utf-8")
    return Probe(_versions(), file, content)


def _versions() -> tuple[tuple[str, str], ...]:
    python = ".".join(platform.python_version_tuple()[:2])
    return (("Python", python), *((name, version(name)) for name in _PACKAGES))
