"""Hooks of each node: a log line for each stage, and the memory of engines that are not in use."""

import itertools
import logging
import os
import time

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.datasets.engine import free_engines
from srlm_kedro.display import progress
from srlm_kedro.engines import cluster
from srlm_kedro.freshness.hooks import UnsavedOutputs
from srlm_kedro.freshness.recipe import is_engine
from srlm_kedro.running.stage_names import stage_name

_log = logging.getLogger(__name__)


class StageLogHooks:
    """Logs when a stage that draws or trains begins, and when any stage ends.

    A bar shows the stage at work. Beside it only the ends of stages that draw or train are logged.
    """

    def __init__(self) -> None:
        self._process, self._count, self._numbers = 0, 0, itertools.count(1)
        self._starts: dict[str, tuple[str, float, bool]] = {}
        self._unsaved = UnsavedOutputs()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Counts the nodes."""
        self._process, self._count = os.getpid(), len(pipeline.nodes)
        self._numbers = itertools.count(1)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Stops counting: nodes that run outside of a pipeline have no number."""
        self._process = 0
        _clear_stage()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Stops counting, and forgets the nodes at work."""
        self._process = 0
        self._starts.clear()
        _clear_stage()

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Logs the beginning of a stage that draws or trains."""
        progress.node.set(node.name)
        # A worker process sees only its own nodes, and cannot count.
        is_counted = os.getpid() == self._process
        place = f"{next(self._numbers)} of {self._count}, " if is_counted else ""
        is_long = any(is_engine(catalog, name) for name in node.inputs)
        words = f"{place}{stage_name(node.name)}"
        progress.stage.set(words)
        self._starts[node.name] = words, time.perf_counter(), is_long
        self._unsaved.expect(node)
        if is_long and not progress.has_listener():
            _log.info("%s", words)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Logs which stage failed; the command says why when it ends."""
        if begun := self._starts.pop(node.name, None):
            _log.error("%s: failed", begun[0])

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Logs how long the stage took, once its last output is saved."""
        if not self._unsaved.saved(dataset_name, node) or node.name not in self._starts:
            return
        words, start, is_long = self._starts.pop(node.name)
        if is_long or not progress.has_listener():
            _log.info("%s: done in %s", words, progress.duration(time.perf_counter() - start))


class MemoryHooks:
    """Before a node that uses an engine, frees the engines that the node does not use.

    So a sampler gives its memory back before a trainer loads. Nodes without an engine free
    nothing: between two sampling nodes the model stays loaded.
    """

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Frees every other engine if the node uses one."""
        used = {name for name in node.inputs if is_engine(catalog, name)}
        if used:
            free_engines(catalog, (name for name in catalog if name not in used))

    @hook_impl
    def after_pipeline_run(self, catalog: CatalogProtocol) -> None:
        """Frees all engines: the process may live on, in a notebook or for the next run."""
        free_engines(catalog, catalog)
        cluster.leave()

    @hook_impl
    def on_pipeline_error(self, catalog: CatalogProtocol) -> None:
        """Frees all engines."""
        free_engines(catalog, catalog)
        cluster.leave()


def _clear_stage() -> None:
    """No node is at work any more."""
    progress.node.set("")
    progress.stage.set("")
