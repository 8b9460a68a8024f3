"""In which order a run makes what it makes: what costs little comes as soon as it can.

Kedro runs all nodes of one depth before any deeper node. So a gate would wait for every drawing of
its depth, and a run that must stop would go on for minutes.
"""

import heapq
import logging
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner, SequentialRunner

from srlm_kedro.freshness.recipe import uses_engine


def running_order(pipeline: Pipeline, catalog: CatalogProtocol, whole: Pipeline) -> list[Node]:
    """The nodes, each after those it depends on, and cheap ones before the work of engines.

    Of several nodes whose inputs exist, one that uses no engine is next, and otherwise the first in
    Kedro's order. So a gate stops the run before anything else is drawn or trained.

    Args:
        pipeline: The nodes that run.
        catalog: Says which nodes use an engine.
        whole: The nodes that were asked for, fresh ones included. Their order counts: that of the
            stale ones alone depends on which of them are fresh.
    """
    places = {node: place for place, node in enumerate(whole.nodes)}
    waiting = {node: set(needed) for node, needed in pipeline.node_dependencies.items()}
    followers: dict[Node, list[Node]] = {node: [] for node in waiting}
    for node, needed in waiting.items():
        for each in needed:
            followers[each].append(node)

    def entry(node: Node) -> tuple[bool, int, Node]:
        return uses_engine(node, catalog), places[node], node

    ready = [entry(node) for node, needed in waiting.items() if not needed]
    heapq.heapify(ready)
    order = []
    while ready:
        node = heapq.heappop(ready)[-1]
        order.append(node)
        for follower in followers[node]:
            waiting[follower].discard(node)
            if not waiting[follower]:
                heapq.heappush(ready, entry(follower))
    return order


class CheapFirstRunner(SequentialRunner):
    """Kedro's sequential runner, in `running_order`."""

    def __init__(self, whole: Pipeline, is_async: bool = False):
        """Runs nodes of `whole`, of which some may be fresh."""
        super().__init__(is_async)
        self._whole = whole

    @property
    def _logger(self) -> logging.Logger:
        """Kedro's own: it would take one with this module's name, which logs what Kedro says."""
        return logging.getLogger(SequentialRunner.__module__)

    def _run(self, pipeline: Pipeline, catalog: CatalogProtocol, *args: Any, **kwargs: Any) -> None:
        order = running_order(pipeline, catalog, self._whole)
        super()._run(_Ordered(pipeline, order), catalog, *args, **kwargs)


def cheap_first(runner: AbstractRunner | None, whole: Pipeline) -> AbstractRunner:
    """The runner that was asked for, but `CheapFirstRunner` in place of Kedro's sequential one."""
    if runner is None:
        return CheapFirstRunner(whole)
    is_kedros = type(runner) is SequentialRunner
    return CheapFirstRunner(whole, runner._is_async) if is_kedros else runner


class _Ordered(Pipeline):
    """A pipeline with an order of its own."""

    def __init__(self, pipeline: Pipeline, order: list[Node]):
        self._order = order  # Kedro reads the nodes while it checks namespaces
        super().__init__(pipeline)

    @property
    def nodes(self) -> list[Node]:
        """All nodes, each after those that it depends on."""
        return list(self._order)
