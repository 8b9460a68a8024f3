"""One engine's memory at a time: a sampler's is given back before a trainer loads."""

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from srlm_kedro.datasets.engine import free_engines
from srlm_kedro.freshness.plan import is_engine


class MemoryHooks:
    """Frees the engines that a node does not use, before a node that uses one.

    Nodes without engines need no such memory: between two sampling nodes the model stays.
    """

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Frees every other engine, if the node has one itself."""
        used = {name for name in node.inputs if is_engine(catalog, name)}
        if used:
            free_engines(catalog, (name for name in catalog if name not in used))

    @hook_impl
    def after_pipeline_run(self, catalog: CatalogProtocol) -> None:
        """Frees all engines: the process may go on (a notebook, the next run)."""
        free_engines(catalog, catalog)

    @hook_impl
    def on_pipeline_error(self, catalog: CatalogProtocol) -> None:
        """Frees all engines."""
        free_engines(catalog, catalog)
