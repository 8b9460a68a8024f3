"""A line for each stage: what it does, how long it took, how many are left."""

import itertools
import logging
import os
import time

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.display import progress
from srlm_kedro.freshness.plan import is_engine
from srlm_kedro.freshness.unsaved import Unsaved
from srlm_kedro.running.stage_names import stage

_log = logging.getLogger(__name__)


class TellingHooks:
    """Tells when a stage that draws or trains begins, and when any stage has ended.

    Beside a bar, which shows what is at work, the end of such a stage alone is told.
    """

    def __init__(self) -> None:
        self._process, self._count, self._numbers = 0, 0, itertools.count(1)
        self._starts: dict[str, tuple[str, float, bool]] = {}
        self._unsaved = Unsaved()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Counts the nodes."""
        self._process, self._count = os.getpid(), len(pipeline.nodes)
        self._numbers = itertools.count(1)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """What is made again outside of a run is not counted."""
        self._process = 0
        _at_none()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """As after a run."""
        self._process = 0
        self._starts.clear()
        _at_none()

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Tells of a long stage."""
        progress.node.set(node.name)
        # Worker processes see their own nodes alone, and cannot count.
        counted = os.getpid() == self._process
        place = f"{next(self._numbers)} of {self._count}, " if counted else ""
        long = any(is_engine(catalog, name) for name in node.inputs)
        words = f"{place}{stage(node.name)}"
        progress.stage.set(words)
        self._starts[node.name] = words, time.perf_counter(), long
        self._unsaved.expect(node)
        if long and not progress.is_watched():
            _log.info("%s", words)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Tells which stage failed; why, the command says at its end."""
        if begun := self._starts.pop(node.name, None):
            _log.error("%s: failed", begun[0])

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Tells how long the stage took, once its last output is saved."""
        if not self._unsaved.saved(dataset_name, node) or node.name not in self._starts:
            return
        words, start, long = self._starts.pop(node.name)
        if long or not progress.is_watched():
            _log.info("%s: done in %s", words, progress.lasting(time.perf_counter() - start))


def _at_none() -> None:
    """No node is at work any more."""
    progress.node.set("")
    progress.stage.set("")
