"""Writes the manifest of every persisted output, last."""

import time
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from srlm_kedro.datasets.manifest import content_digest, discard_manifest, write_manifest
from srlm_kedro.freshness import output_path, parts


class FreshnessHooks:
    """Keeps beside each output what it was made from; see `srlm_kedro.freshness`."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[CatalogProtocol, dict[str, str], float]] = {}
        self._seconds: dict[str, float] = {}

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Notes what the node is made from; its outputs on disk no longer count as whole."""
        paths = [output_path(catalog, name) for name in node.outputs]
        for path in filter(None, paths):
            discard_manifest(path)
        self._open[node.name] = (catalog, parts(node, catalog), time.perf_counter())

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Notes how long the node's own work took, in seconds."""
        self._seconds[node.name] = time.perf_counter() - self._open[node.name][2]

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Declares the output whole."""
        catalog, made_from, _ = self._open[node.name]
        path = output_path(catalog, dataset_name)
        if path is None:
            return
        write_manifest(
            path,
            {
                "dataset": dataset_name,
                "node": node.name,
                "parts": made_from,
                "digest": content_digest(path),
                "seconds": round(self._seconds[node.name], 3),
            },
        )
