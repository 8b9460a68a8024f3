"""The parent run of a pipeline run: kedro-mlflow's hooks, changed in a few points."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Pipeline
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from srlm_kedro.tracking.address import (
    VARIABLE,
    artifact_subfolder,
    configuration,
    database_file,
    effective,
    visible_uri,
)
from srlm_kedro.tracking.database import prepared_database
from srlm_kedro.tracking.places import local_path, refuse_elsewhere, update_paths
from srlm_kedro.tracking.recorder import Digest, RunRecorder
from srlm_kedro.tracking.run_owner import COMMAND, current_command, unfinished_run, writer_tags
from srlm_kedro.tracking.trouble import refuse_at_start

_log = logging.getLogger(__name__)


class ParentRunHooks(MlflowHook):
    """kedro-mlflow's hooks, with a database that stays in the project and without parameters.

    kedro-mlflow writes a typed parameter group as one long string; `RunRecorder` writes each
    value by itself. A killed run of the same command is opened again, and a stopped run is closed
    as KILLED. `tracking.hooks.MlflowHooks` calls these hooks instead of the plugin's own.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Sets MLflow up for the project, whatever the working directory.

        Raises:
            InputError: The server does not answer, the database cannot be used, or artifacts
                would be written outside of the project.
        """
        _silence_loggers()
        loader, project = context.config_loader, Path(context.project_path)
        config = effective(configuration(loader), project)
        loader["mlflow"] = config
        uri = config["server"].get("mlflow_tracking_uri") or ""
        with refuse_at_start(uri), _kept_variables(), _prepared(uri, config, project):
            try:
                super().after_context_created(context)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                super().after_context_created(context)  # another run was first
        if self._already_active_mlflow:
            return
        options = self.mlflow_config.tracking.experiment
        asked = local_path(options.create_experiment_kwargs.artifact_location)
        location = options._experiment.artifact_location
        refuse_elsewhere(uri, options.name, location, asked, project)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Opens the parent run; its tags hold the command as the user typed it.

        The nodes in `run_params` are the stale ones; the user did not name them.
        """
        typed = {**run_params, "node_names": None, "runner": None}
        tracking = self.mlflow_config.tracking
        if os.environ.get(VARIABLE):
            uri = self.mlflow_config.server.mlflow_tracking_uri
            _log.info("MLflow: runs go to %s, as %s says.", visible_uri(uri), VARIABLE)
        user_named_no_run = tracking.run.id is None
        if user_named_no_run:
            tracking.run.id = _open_run(self.mlflow_config)
        super().before_pipeline_run(typed, pipeline, catalog)
        if user_named_no_run:
            tracking.run.id = None

    @hook_impl
    def before_node_run(self) -> None:
        """Does nothing, where kedro-mlflow would write parameters and reopen the run each time."""

    @hook_impl
    def on_pipeline_error(
        self,
        error: BaseException,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol,
    ) -> None:
        """Closes the run, as KILLED if the user stopped it and as FAILED otherwise."""
        if isinstance(error, KeyboardInterrupt) and not self._already_active_mlflow:
            while mlflow.active_run():
                mlflow.end_run("KILLED")
        else:
            super().on_pipeline_error(error, run_params, pipeline, catalog)


def _silence_loggers() -> None:
    """Sets log levels here and not in conf/, because the packages set them when imported.

    A user need not know that tables were made, paths resolved or runs opened.
    """
    for name in ("alembic", "mlflow", "kedro_mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The closing text says where to look, once and without a password.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # This logger prints a traceback of errors that are raised too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextmanager
def _prepared(uri: str, config: dict[str, Any], project: Path) -> Iterator[None]:
    """Inside, an SQLite database exists, names this project, and only this process sets it up."""
    file, subfolder = database_file(uri), artifact_subfolder(config)
    if file is None or mlflow.active_run():  # kedro-mlflow uses the open run
        yield
        return
    with prepared_database(file, project / (subfolder or "mlruns/artifacts")):
        if subfolder is not None:
            update_paths(file, project, subfolder)
        yield


@contextmanager
def _kept_variables() -> Iterator[None]:
    """Restores the variables by which MLflow tells child processes where runs go.

    A later run of another project in this process must not read them.
    """
    before = {name: os.environ.get(name) for name in (VARIABLE, "MLFLOW_EXPERIMENT_ID")}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def is_left_open(context: KedroContext, command: str) -> bool:
    """Whether the command's newest run was killed and so is still open."""
    config: KedroMlflowConfig | None = getattr(context, "mlflow", None)
    if config is None or config.tracking.run.id:
        return False
    return unfinished_run(config.server._mlflow_client, _experiment(config), command) is not None


def open_recorder(registered_model: str, digest: Digest) -> RunRecorder | None:
    """A recorder below the run that is open in this thread; None if no run is open."""
    active = mlflow.active_run()
    if active is None:
        return None
    return RunRecorder(mlflow.MlflowClient(), active.info.run_id, registered_model, digest)


def _open_run(config: KedroMlflowConfig) -> str:
    """The id of this command's killed run, or of a new run; either is tagged with this process."""
    client, experiment = config.server._mlflow_client, _experiment(config)
    command = current_command.get()
    killed = unfinished_run(client, experiment, command)
    if killed is not None:
        _log.info("MLflow: the run %s of this command goes on.", killed)
        for name, value in writer_tags().items():
            client.set_tag(killed, name, value)
        return killed
    tags = resolve_tags({**writer_tags(), **({COMMAND: command} if command else {})})
    return client.create_run(experiment, tags=tags).info.run_id


def _experiment(config: KedroMlflowConfig) -> str:
    return config.tracking.experiment._experiment.experiment_id
