"""The hooks that record a run in MLflow, which is loaded only when a pipeline runs."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from srlm_kedro.errors import GateError
from srlm_kedro.freshness.manifest import current_digest
from srlm_kedro.freshness.recipe import output_path
from srlm_kedro.tracking.address import configuration, is_tracked

if TYPE_CHECKING:
    from srlm_kedro.tracking.model_runs import TrackingHooks
    from srlm_kedro.tracking.parent_run import ParentRunHooks

_log = logging.getLogger(__name__)
_DATASETS = "kedro_mlflow.io.metrics"
"""This module is imported if and only if the catalog has datasets of kedro-mlflow."""


class MlflowHooks:
    """Calls `ParentRunHooks` and `TrackingHooks`, both made when the first pipeline runs.

    It is registered under the name of kedro-mlflow's own hooks and so replaces them.
    """

    __name__ = "mlflow_hook"

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._parent: ParentRunHooks | None = None
        self._children: TrackingHooks | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keeps the context; its attribute `mlflow` reads the configuration when it is used."""
        self._context, self._parent, self._children = context, None, None
        context.mlflow = _LateConfig(self)

    @hook_impl
    def after_catalog_created(
        self,
        catalog: CatalogProtocol,
        conf_catalog: dict[str, Any],
        conf_creds: dict[str, Any],
        parameters: dict[str, Any],
        save_version: str,
        load_versions: dict[str, str],
    ) -> None:
        """Names kedro-mlflow's datasets of the catalog, if it has any; this needs no server."""
        if _DATASETS in sys.modules:
            from srlm_kedro.tracking.parent_run import ParentRunHooks

            ParentRunHooks().after_catalog_created(
                *(catalog, conf_catalog, conf_creds, parameters, save_version, load_versions)
            )

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Opens and describes the parent run; without MLflow if the pipelines are not recorded."""
        if not self._is_tracked(run_params.get("pipeline_names")):
            _switch_off_datasets(catalog)
            return
        from srlm_kedro.tracking.model_runs import TrackingHooks

        parent = self.parent
        with self._stop_run():
            parent.before_pipeline_run(run_params, pipeline, catalog)
            self._children = TrackingHooks()
            self._children.before_pipeline_run(run_params, pipeline, catalog)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Opens the model's child run at its first node."""
        if self._children is not None:
            with self._stop_run():
                self._children.before_node_run(node)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Records the dataset."""
        if self._children is not None:
            with self._stop_run():
                self._children.after_dataset_saved(dataset_name, data)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Closes the children before their parent."""
        if self._children is not None:
            with self._stop_run():
                self._children.after_pipeline_run()
                self.parent.after_pipeline_run(run_params, pipeline, catalog)
        self._children = None

    @hook_impl(tryfirst=True)
    def on_pipeline_error(
        self,
        error: BaseException,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol,
    ) -> None:
        """Closes the open runs, as stopped or failed."""
        if self._children is not None:
            from srlm_kedro.tracking.trouble import warn_only

            with warn_only(self._uri):
                self._children.on_pipeline_error(error)
                self.parent.on_pipeline_error(error, run_params, pipeline, catalog)
        self._children = None

    def record_without_nodes(
        self,
        run_params: dict[str, Any],
        catalog: CatalogProtocol,
        error: BaseException | None = None,
    ) -> None:
        """Opens and closes the run of a command that runs no pipeline.

        Args:
            run_params: As Kedro's hooks get them.
            catalog: The run's catalog.
            error: What stopped the command before its pipeline. Then the run ends as failed, and
                an error of MLflow is only a warning.
        """
        nothing = Pipeline([])
        if error is None:
            self.before_pipeline_run(run_params, nothing, catalog)
            self.after_pipeline_run(run_params, nothing, catalog)
            return
        try:
            self.before_pipeline_run(run_params, nothing, catalog)
        except GateError as trouble:
            _log.warning("%s", trouble)
        self.on_pipeline_error(error, run_params, nothing, catalog)

    def record_thinned(
        self, models: Sequence[str], names: list[str] | None, catalog: CatalogProtocol
    ) -> None:
        """Deletes the weights of models from the registry too, if the pipelines are recorded.

        Args:
            models: Their names, as `m2.model`.
            names: The pipelines that were asked for.
            catalog: The run's catalog.
        """
        if self._context is None or not self._is_tracked(names):
            return
        from srlm_kedro.tracking.registry import drop_weights, registered_model

        settings, registered = self.parent.mlflow_config, registered_model(self._context.env)
        place = settings.tracking.experiment._experiment.artifact_location
        for model in models:
            digest = current_digest(output_path(catalog, model))
            client = settings.server._mlflow_client
            drop_weights(client, registered, model.removesuffix(".model"), digest, place)

    @property
    def parent(self) -> "ParentRunHooks":
        """The hooks of the parent run; making them sets MLflow up for the project."""
        if self._parent is None:
            from srlm_kedro.tracking.parent_run import ParentRunHooks

            parent = ParentRunHooks()
            parent.after_context_created(self._context)
            self._parent = parent
        return self._parent

    @property
    def _uri(self) -> str:
        return self.parent.mlflow_config.server.mlflow_tracking_uri or ""

    def _is_tracked(self, names: list[str] | None) -> bool:
        context = self._context
        return context is not None and is_tracked(configuration(context.config_loader), names)

    @contextmanager
    def _stop_run(self) -> Iterator[None]:
        """Inside, an error of MLflow ends the run with one message."""
        from srlm_kedro.tracking.trouble import stop_run

        with stop_run(self._uri):
            yield


def _switch_off_datasets(catalog: CatalogProtocol) -> None:
    """Has kedro-mlflow's datasets of the catalog, if it has any, record nothing."""
    if _DATASETS in sys.modules:
        from kedro_mlflow.io.catalog.switch_catalog_logging import switch_catalog_logging

        switch_catalog_logging(catalog, False)


class _LateConfig:
    """kedro-mlflow's configuration, which is read when an attribute is used."""

    def __init__(self, hooks: MlflowHooks) -> None:
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # used when a context is copied or printed
            raise AttributeError(name)
        return getattr(self._hooks.parent.mlflow_config, name)
