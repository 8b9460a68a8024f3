"""Deletes the weights of old models once nothing needs them: the parameter `keep_models`."""

import logging
from collections.abc import Set
from itertools import count, takewhile
from pathlib import Path
from typing import Self

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness.hooks import UnsavedOutputs
from srlm_kedro.freshness.manifest import file_digests, is_thinned, mark_thinned
from srlm_kedro.freshness.plan import Plan, make_plan
from srlm_kedro.freshness.recipe import manifest_of, output_path

_log = logging.getLogger(__name__)


class Thinning:
    """Deletes the weights of M2 and later that are older than the newest `keep_models`.

    The weights stay if the rest of the run reads them, or if a stale node outside of it would read
    them. Tables, metrics and cards of a model always stay.
    """

    def __init__(self, keep: int, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Notes which node needs which model.

        Args:
            keep: How many of the newest models keep their weights.
            pipeline: The nodes that are about to run.
            catalog: Of the run.
        """
        self._keep, self._catalog = keep, catalog
        self._unsaved = UnsavedOutputs()
        for node in pipeline.nodes:
            self._unsaved.expect(node)
        self._inputs = {node.name: set(node.inputs) for node in pipeline.nodes}
        whole = pipelines["__default__"]
        elsewhere = set(make_plan(whole, catalog).stale) - set(self._unsaved.outputs)
        self._always = {n for node in whole.nodes if node.name in elsewhere for n in node.inputs}

    @classmethod
    def from_catalog(cls, pipeline: Pipeline, catalog: CatalogProtocol) -> Self | None:
        """The thinning of a run; None if `keep_models` is `all`."""
        keep = catalog.load("params:keep_models") if "params:keep_models" in catalog else "all"
        return None if keep == "all" else cls(keep, pipeline, catalog)

    def saved(self, dataset: str, node: Node) -> None:
        """Deletes the weights that only this node still read, once its last output is saved."""
        if self._unsaved.saved(dataset, node):
            self._thin()

    def finish(self) -> None:
        """Deletes the weights that nothing needs once all nodes have run."""
        self._unsaved.outputs.clear()
        self._thin()

    def due_at_end(self) -> list[str]:
        """The models whose weights the run will delete, as `m2.model`; it deletes nothing now.

        A model that is chosen as the best stays, but only choices made already are known here.
        """
        coming = {name for outputs in self._unsaved.outputs.values() for name in outputs}
        return list(self._due(_made(self._catalog, coming), self._always, coming))

    def _thin(self) -> None:
        needed = self._always.union(*(self._inputs[name] for name in self._unsaved.outputs))
        for name, path in self._due(_made(self._catalog), needed).items():
            _delete(name, path)

    def _due(
        self, made: list[int], needed: set[str], coming: Set[str] = frozenset()
    ) -> dict[str, Path]:
        """The models, and their folders, that are too old and that nothing needs.

        Args:
            made: Every t for which M_t exists, in order.
            needed: Datasets that nodes still read.
            coming: Datasets that will be made again, and so will have weights again.
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


class ThinningHooks:
    """After each dataset that is saved, deletes the weights that nothing needs any more."""

    def __init__(self) -> None:
        self._thinning: Thinning | None = None

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Notes which node needs which model, if the user limits how many are kept."""
        self._thinning = Thinning.from_catalog(pipeline, catalog)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Deletes the weights that only this node still needed."""
        if self._thinning:
            self._thinning.saved(dataset_name, node)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Deletes the rest before MLflow hears of the end of the run.

        Nodes that ran in other processes have finished by now.
        """
        if self._thinning:
            self._thinning.finish()
        self._thinning = None


def models_to_thin(pipeline: Pipeline, catalog: CatalogProtocol, plan: Plan) -> list[str]:
    """The models whose weights `keep_models` would delete if a run made all that is stale."""
    stale = Pipeline([node for node in pipeline.nodes if node.name in plan.stale])
    thinning = Thinning.from_catalog(stale, catalog)
    return thinning.due_at_end() if thinning else []


def _chosen(catalog: CatalogProtocol, name: str) -> Path | None:
    """The folder that a dataset `mT.best` names; None if it is another dataset or not made yet."""
    made = name.endswith(".best") and manifest_of(catalog, name)
    return catalog.load(name).path.resolve() if made else None


def _made(catalog: CatalogProtocol, coming: Set[str] = frozenset()) -> list[int]:
    """Every t for which M_t was made, or is among what will be made, in order."""

    def exists(t: int) -> bool:
        name = f"m{t}.model"
        return name in coming or manifest_of(catalog, name) is not None

    return list(takewhile(exists, count(1)))


def _delete(name: str, path: Path) -> None:
    """Marks the model as thinned, then deletes its files: a kill in between leaves unread files."""
    files = file_digests(path)
    mark_thinned(path)
    for file in files:
        (path / file).unlink(missing_ok=True)
    _log.info("%s: its weights are deleted (keep_models); it can be made again.", name)
