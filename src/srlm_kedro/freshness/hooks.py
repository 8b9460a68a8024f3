"""Writes the manifest of every persisted output after the output itself."""

import time

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from srlm_kedro.freshness.manifest import discard_manifest, write_manifest
from srlm_kedro.freshness.recipe import is_engine, output_path, recipe_of


class UnsavedOutputs:
    """The outputs that running nodes have yet to save; Kedro's hooks keep it up to date."""

    def __init__(self) -> None:
        """No node is running."""
        self.outputs: dict[str, set[str]] = {}
        """Names of datasets by the name of their node."""

    def expect(self, node: Node) -> None:
        """Notes that the node has all its outputs to save."""
        self.outputs[node.name] = set(node.outputs)

    def saved(self, dataset: str, node: Node) -> bool:
        """Notes that a dataset is saved; True if it was the node's last one."""
        left = self.outputs.get(node.name, set())
        left.discard(dataset)
        if not left:
            self.outputs.pop(node.name, None)
        return not left


class FreshnessHooks:
    """Keeps beside each output what it was made from; see `srlm_kedro.freshness.plan`."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[CatalogProtocol, dict[str, str], float]] = {}
        self._seconds: dict[str, float] = {}
        self._unsaved = UnsavedOutputs()

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Notes what the node is made from, and discards the manifests of its older outputs."""
        paths = [output_path(catalog, name) for name in node.outputs]
        for path in filter(None, paths):
            discard_manifest(path)
        self._unsaved.expect(node)
        self._open[node.name] = (catalog, recipe_of(node, catalog), time.perf_counter())

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Notes how long the node's own work took, in seconds."""
        self._seconds[node.name] = time.perf_counter() - self._open[node.name][2]

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Writes the output's manifest; after a node's last output, engines drop its leftovers."""
        catalog, recipe, _ = self._open[node.name]
        path = output_path(catalog, dataset_name)
        if path is not None:
            seconds = round(self._seconds[node.name], 3)
            notes = {"dataset": dataset_name, "node": node.name, "parts": recipe}
            write_manifest(path, {**notes, "seconds": seconds})
        if self._unsaved.saved(dataset_name, node):
            _forget_unfinished(catalog, node)


def _forget_unfinished(catalog: CatalogProtocol, node: Node) -> None:
    """Makes the node's engines drop what they kept in case of a kill."""
    for name in node.inputs:
        if is_engine(catalog, name):
            catalog.get(name).forget()
