"""Writes the manifest of every persisted output, last."""

import time

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from srlm_kedro.freshness.manifest import discard_manifest, write_manifest
from srlm_kedro.freshness.plan import is_engine, output_path, parts
from srlm_kedro.freshness.unsaved import Unsaved


class FreshnessHooks:
    """Keeps beside each output what it was made from; see `srlm_kedro.freshness.plan`."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[CatalogProtocol, dict[str, str], float]] = {}
        self._seconds: dict[str, float] = {}
        self._unsaved = Unsaved()

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Notes what the node is made from; its outputs on disk no longer count as whole."""
        paths = [output_path(catalog, name) for name in node.outputs]
        for path in filter(None, paths):
            discard_manifest(path)
        self._unsaved.expect(node)
        self._open[node.name] = (catalog, parts(node, catalog), time.perf_counter())

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Notes how long the node's own work took, in seconds."""
        self._seconds[node.name] = time.perf_counter() - self._open[node.name][2]

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Declares the output whole; after the node's last one, its unfinished work is dropped."""
        catalog, made_from, _ = self._open[node.name]
        path = output_path(catalog, dataset_name)
        if path is not None:
            seconds = round(self._seconds[node.name], 3)
            notes = {"dataset": dataset_name, "node": node.name, "parts": made_from}
            write_manifest(path, {**notes, "seconds": seconds})
        if self._unsaved.saved(dataset_name, node):
            _forget(catalog, node)


def _forget(catalog: CatalogProtocol, node: Node) -> None:
    """Has the node's engines drop what they kept in case of a kill."""
    for name in node.inputs:
        if is_engine(catalog, name):
            catalog.get(name).forget()
