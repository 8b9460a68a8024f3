"""Old models' weights leave the disk once nothing needs them: the parameter `keep_models`."""

import logging
from collections.abc import Set
from itertools import count, takewhile
from pathlib import Path
from typing import Self

from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.manifest import file_digests, is_thinned, mark_thinned
from srlm_kedro.freshness.plan import Plan, make_plan, manifest_of, output_path
from srlm_kedro.freshness.unsaved import Unsaved

_log = logging.getLogger(__name__)


class Thinning:
    """Deletes the weights of M2 and later that are older than the newest `keep_models`.

    What the rest of a run reads, and what a stale node outside of it would read, stays. Tables,
    metrics and cards of a model stay always.
    """

    def __init__(self, keep: int, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Notes which model is needed by whom.

        Args:
            keep: How many of the newest models keep their weights.
            pipeline: The nodes that are about to run.
            catalog: Of the run.
        """
        self._keep, self._catalog = keep, catalog
        self._left = Unsaved()
        for node in pipeline.nodes:
            self._left.expect(node)
        self._inputs = {node.name: set(node.inputs) for node in pipeline.nodes}
        whole = pipelines["__default__"]
        elsewhere = set(make_plan(whole, catalog).stale) - set(self._left.outputs)
        self._always = {n for node in whole.nodes if node.name in elsewhere for n in node.inputs}

    @classmethod
    def asked_for(cls, pipeline: Pipeline, catalog: CatalogProtocol) -> Self | None:
        """The thinning of a run; None where the user keeps all models."""
        keep = catalog.load("params:keep_models") if "params:keep_models" in catalog else "all"
        return None if keep == "all" else cls(keep, pipeline, catalog)

    def saved(self, dataset: str, node: Node) -> None:
        """Deletes what a node was the last to need, once its last output is saved."""
        if self._left.saved(dataset, node):
            self._thin()

    def finish(self) -> None:
        """Deletes what nobody needs once all nodes have run."""
        self._left.outputs.clear()
        self._thin()

    def at_its_end(self) -> list[str]:
        """What will be deleted by the end of the run, as `m2.model`; nothing is deleted now.

        What a choice of the best keeps is known of choices that are made already.
        """
        coming = {name for outputs in self._left.outputs.values() for name in outputs}
        return list(self._due(_made(self._catalog, coming), self._always, coming))

    def _thin(self) -> None:
        needed = self._always.union(*(self._inputs[name] for name in self._left.outputs))
        for name, path in self._due(_made(self._catalog), needed).items():
            _delete(name, path)

    def _due(
        self, made: list[int], needed: set[str], coming: Set[str] = frozenset()
    ) -> dict[str, Path]:
        """The models, and their folders, that are too old and that nobody needs.

        Args:
            made: Every t of which there is M_t, in order.
            needed: Datasets that are still read.
            coming: Those that will be made anew, and so have weights again.
        """
        chosen = {_chosen(self._catalog, name) for name in [*needed, f"m{(made or [0])[-1]}.best"]}
        names = [f"m{t}.model" for t in made[: -self._keep] if t != 1]
        paths = {name: output_path(self._catalog, name) for name in names if name not in needed}
        return {
            name: path
            for name, path in paths.items()
            if path is not None
            and (name in coming or not is_thinned(path))
            and path.resolve() not in chosen
        }


def foreseen(pipeline: Pipeline, catalog: CatalogProtocol, plan: Plan) -> list[str]:
    """The models that lose their weights by `keep_models` if a run makes what is stale."""
    stale = Pipeline([node for node in pipeline.nodes if node.name in plan.stale])
    thinning = Thinning.asked_for(stale, catalog)
    return thinning.at_its_end() if thinning else []


def _chosen(catalog: CatalogProtocol, name: str) -> Path | None:
    """The folder that a choice of the best model names."""
    made = name.endswith(".best") and manifest_of(catalog, name)
    return catalog.load(name).path.resolve() if made else None


def _made(catalog: CatalogProtocol, coming: Set[str] = frozenset()) -> list[int]:
    """Every t of which M_t was made, or is among what will be made, in order."""

    def there(t: int) -> bool:
        name = f"m{t}.model"
        return name in coming or manifest_of(catalog, name) is not None

    return list(takewhile(there, count(1)))


def _delete(name: str, path: Path) -> None:
    """The note comes first: a kill in between leaves files that nobody reads."""
    files = file_digests(path)
    mark_thinned(path)
    for file in files:
        (path / file).unlink(missing_ok=True)
    _log.info("%s: its weights are deleted (keep_models); it can be made again.", name)
