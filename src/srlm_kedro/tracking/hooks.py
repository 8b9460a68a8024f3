"""MLflow, loaded once a pipeline runs: a start with nothing to do goes without it."""

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
from srlm_kedro.freshness.plan import output_path
from srlm_kedro.tracking.address import configuration, is_tracked

if TYPE_CHECKING:
    from srlm_kedro.tracking.model_runs import TrackingHooks
    from srlm_kedro.tracking.parent_run import ParentRunHooks

_log = logging.getLogger(__name__)
_DATASETS = "kedro_mlflow.io.metrics"
"""A catalog has datasets of kedro-mlflow's if and only if this is imported by now."""


class MlflowHooks:
    """`ParentRunHooks` around `TrackingHooks`, both made with the first pipeline that runs.

    Registered under the name of kedro-mlflow's own hooks, which therefore stay away.
    """

    __name__ = "mlflow_hook"

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._parent: ParentRunHooks | None = None
        self._children: TrackingHooks | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keeps the context; its `mlflow`, the configuration, is read when somebody asks."""
        self._context, self._parent, self._children = context, None, None
        context.mlflow = _Configuration(self)

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
        """Names kedro-mlflow's datasets of the catalog, if it has any; nobody is asked for that."""
        if _DATASETS in sys.modules:
            from srlm_kedro.tracking.parent_run import ParentRunHooks

            ParentRunHooks().after_catalog_created(
                *(catalog, conf_catalog, conf_creds, parameters, save_version, load_versions)
            )

    @hook_impl(trylast=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Opens the parent run, then describes it; pipelines that leave no run need no MLflow."""
        if self._context is None or not is_tracked(
            configuration(self._context.config_loader), run_params.get("pipeline_names")
        ):
            _silence(catalog)
            return
        from srlm_kedro.tracking.model_runs import TrackingHooks

        parent = self.parent
        with self._told():
            parent.before_pipeline_run(run_params, pipeline, catalog)
            self._children = TrackingHooks()
            self._children.before_pipeline_run(run_params, pipeline, catalog)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Opens the model's child with its first node."""
        if self._children is not None:
            with self._told():
                self._children.before_node_run(node)

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Records the dataset."""
        if self._children is not None:
            with self._told():
                self._children.after_dataset_saved(dataset_name, data)

    @hook_impl(tryfirst=True)
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Closes the children before their parent."""
        if self._children is not None:
            with self._told():
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
        """Closes what is open, stopped or failed."""
        if self._children is not None:
            from srlm_kedro.tracking.trouble import only_warned

            with only_warned(self._uri):
                self._children.on_pipeline_error(error)
                self.parent.on_pipeline_error(error, run_params, pipeline, catalog)
        self._children = None

    def tell_of_no_nodes(
        self,
        run_params: dict[str, Any],
        catalog: CatalogProtocol,
        error: BaseException | None = None,
    ) -> None:
        """Opens and ends the run of a command in which no pipeline runs.

        Args:
            run_params: As Kedro's hooks get them.
            catalog: Of the run.
            error: What stopped the command before its pipeline; the run ends as failed, and trouble
                with MLflow is only a warning.
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

    def tell_of_thinned(
        self, models: Sequence[str], names: list[str] | None, catalog: CatalogProtocol
    ) -> None:
        """Deletes the weights of models in the registry too.

        Args:
            models: As `m2.model`.
            names: The pipelines that are asked for, which may be recorded nowhere.
            catalog: Of the run.
        """
        context = self._context
        if context is None or not is_tracked(configuration(context.config_loader), names):
            return
        from srlm_kedro.tracking.registry import drop_weights, registered_model

        settings, registered = self.parent.mlflow_config, registered_model(context.env)
        place = settings.tracking.experiment._experiment.artifact_location
        for model in models:
            digest = current_digest(output_path(catalog, model))
            client = settings.server._mlflow_client
            drop_weights(client, registered, model.removesuffix(".model"), digest, place)

    @property
    def parent(self) -> "ParentRunHooks":
        """The hooks of the parent run; MLflow is set up for the project when they are made."""
        if self._parent is None:
            from srlm_kedro.tracking.parent_run import ParentRunHooks

            parent = ParentRunHooks()
            parent.after_context_created(self._context)
            self._parent = parent
        return self._parent

    @property
    def _uri(self) -> str:
        return self.parent.mlflow_config.server.mlflow_tracking_uri or ""

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Inside, trouble with MLflow ends the run with one message."""
        from srlm_kedro.tracking.trouble import told_in_a_run

        with told_in_a_run(self._uri):
            yield


def _silence(catalog: CatalogProtocol) -> None:
    """Has kedro-mlflow's datasets of the catalog, if it has any, record nothing."""
    if _DATASETS in sys.modules:
        from kedro_mlflow.io.catalog.switch_catalog_logging import switch_catalog_logging

        switch_catalog_logging(catalog, False)


class _Configuration:
    """Stands for kedro-mlflow's configuration until somebody reads it."""

    def __init__(self, hooks: MlflowHooks) -> None:
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by whoever copies or prints a context
            raise AttributeError(name)
        return getattr(self._hooks.parent.mlflow_config, name)
