"""Old models' weights leave the disk once nothing needs them: the parameter `keep_models`."""

import logging
from pathlib import Path

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.freshness import make_plan, manifest_of, output_path
from srlm_kedro.manifest import file_digests, is_thinned, mark_thinned
from srlm_kedro.unsaved import Unsaved

_log = logging.getLogger(__name__)


class ThinningHooks:
    """Deletes the weights of M2 and later that are older than the newest `keep_models`.

    What the rest of the run reads, and what a stale node outside of it would read, stays. Tables,
    metrics and cards of a model stay always.
    """

    def __init__(self) -> None:
        self._thinning: _Thinning | None = None

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Notes who needs which model, where the user sets how many to keep."""
        keep = catalog.load("params:keep_models") if "params:keep_models" in catalog else "all"
        self._thinning = None if keep == "all" else _Thinning(keep, pipeline, catalog)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Lets go what the node was the last to need."""
        if self._thinning:
            self._thinning.saved(dataset_name, node)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(self) -> None:
        """Once more, before MLflow is told: nodes that ran in other processes are done by now."""
        if self._thinning:
            self._thinning.finish()
        self._thinning = None


class _Thinning:
    def __init__(self, keep: int, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._keep, self._catalog = keep, catalog
        self._left = Unsaved()
        for node in pipeline.nodes:
            self._left.expect(node)
        self._inputs = {node.name: set(node.inputs) for node in pipeline.nodes}
        whole = pipelines["__default__"]
        elsewhere = set(make_plan(whole, catalog).stale) - set(self._left.outputs)
        self._always = {n for node in whole.nodes if node.name in elsewhere for n in node.inputs}

    def saved(self, dataset: str, node: Node) -> None:
        if self._left.saved(dataset, node):
            self._thin()

    def finish(self) -> None:
        self._left.outputs.clear()
        self._thin()

    def _thin(self) -> None:
        made = _made(self._catalog)
        needed = self._always.union(*(self._inputs[name] for name in self._left.outputs))
        chosen = {_chosen(self._catalog, name) for name in [*needed, f"m{(made or [0])[-1]}.best"]}
        for t in made[: -self._keep]:
            name = f"m{t}.model"
            path = output_path(self._catalog, name)
            if t == 1 or path is None or is_thinned(path):
                continue
            if name not in needed and path.resolve() not in chosen:
                _delete(name, path)


def _chosen(catalog: CatalogProtocol, name: str) -> Path | None:
    """The folder that a choice of the best model names."""
    made = name.endswith(".best") and manifest_of(catalog, name)
    return catalog.load(name).path.resolve() if made else None


def _made(catalog: CatalogProtocol) -> list[int]:
    """Every t of which M_t was made, in order."""
    made, t = [], 1
    while manifest_of(catalog, f"m{t}.model"):
        made.append(t)
        t += 1
    return made


def _delete(name: str, path: Path) -> None:
    """The note comes first: a kill in between leaves files that nobody reads."""
    files = file_digests(path)
    mark_thinned(path)
    for file in files:
        (path / file).unlink(missing_ok=True)
    _log.info("%s: its weights are deleted (keep_models); it can be made again.", name)
