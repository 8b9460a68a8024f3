"""The parent run of a pipeline run, as kedro-mlflow opens and closes it, in a few points ours."""

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
    artifact_part,
    configuration,
    database_file,
    settled,
    visible_uri,
)
from srlm_kedro.tracking.command import COMMAND, running, unfinished
from srlm_kedro.tracking.database import ready
from srlm_kedro.tracking.places import local_path, reanchor, refuse_elsewhere
from srlm_kedro.tracking.process import writer
from srlm_kedro.tracking.recorder import Digest, RunRecorder
from srlm_kedro.tracking.trouble import refused_at_start

_log = logging.getLogger(__name__)


class ParentRunHooks(MlflowHook):
    """kedro-mlflow's hooks with a database that stays in the project, and no parameters.

    kedro-mlflow writes a typed parameter group as one long string; `RunRecorder` writes each
    value by itself. A killed run of the same command is opened again instead of another, and one
    that is stopped is closed as KILLED. `tracking.hooks.MlflowHooks` makes them, in place of the
    plugin's own hooks.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Sets MLflow up for the project, whatever the working directory.

        Raises:
            InputError: No server, no database that can be used, or artifacts that would be written
                outside of the project.
        """
        _quieten()
        loader, project = context.config_loader, Path(context.project_path)
        config = settled(configuration(loader), project)
        loader["mlflow"] = config
        uri = config["server"].get("mlflow_tracking_uri") or ""
        with refused_at_start(uri), _inherited_variables(), _usable(uri, config, project):
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
        """Opens the parent run; its tags hold the command as it was typed.

        The nodes named in `run_params` are those that are not fresh: no one asked for them.
        """
        typed = {**run_params, "node_names": None, "runner": None}
        tracking = self.mlflow_config.tracking
        if os.environ.get(VARIABLE):
            uri = self.mlflow_config.server.mlflow_tracking_uri
            _log.info("MLflow: runs go to %s, as %s says.", visible_uri(uri), VARIABLE)
        ours = tracking.run.id is None
        if ours:
            tracking.run.id = _open_run(self.mlflow_config)
        super().before_pipeline_run(typed, pipeline, catalog)
        if ours:
            tracking.run.id = None

    @hook_impl
    def before_node_run(self) -> None:
        """Nothing: here kedro-mlflow writes parameters, and opens the run anew for each node."""

    @hook_impl
    def on_pipeline_error(
        self,
        error: BaseException,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol,
    ) -> None:
        """Closes the run: as KILLED if somebody stopped it, as FAILED otherwise."""
        if isinstance(error, KeyboardInterrupt) and not self._already_active_mlflow:
            while mlflow.active_run():
                mlflow.end_run("KILLED")
        else:
            super().on_pipeline_error(error, run_params, pipeline, catalog)


def _quieten() -> None:
    """Levels that the packages set themselves when they are imported, and so not in conf/.

    Tables that are made, paths that are resolved and runs that are opened are no news to a user.
    """
    for name in ("alembic", "mlflow", "kedro_mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The closing lines say where to look, once and without a password.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # It logs a traceback of what it raises all the same.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextmanager
def _usable(uri: str, config: dict[str, Any], project: Path) -> Iterator[None]:
    """Inside, an SQLite database is there, is MLflow's, names this project, and is ours alone."""
    file, part = database_file(uri), artifact_part(config)
    if file is None or mlflow.active_run():  # kedro-mlflow goes by the open run
        yield
        return
    with ready(file, project / (part or "mlruns/artifacts")):
        if part is not None:
            reanchor(file, project, part)
        yield


@contextmanager
def _inherited_variables() -> Iterator[None]:
    """MLflow tells child processes where runs go; a run of another project is no child."""
    before = {name: os.environ.get(name) for name in (VARIABLE, "MLFLOW_EXPERIMENT_ID")}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def is_left_open(context: KedroContext, command: str) -> bool:
    """Whether the command's newest run was killed, so that it waits for its end."""
    config: KedroMlflowConfig | None = getattr(context, "mlflow", None)
    if config is None or config.tracking.run.id:
        return False
    return unfinished(config.server._mlflow_client, _experiment(config), command) is not None


def open_recorder(registered_model: str, digest: Digest) -> RunRecorder | None:
    """A recorder below the run that is open in this thread, or None if there is none."""
    active = mlflow.active_run()
    if active is None:
        return None
    return RunRecorder(mlflow.MlflowClient(), active.info.run_id, registered_model, digest)


def _open_run(config: KedroMlflowConfig) -> str:
    """The id of the killed run that goes on, or of a new one, with its process from the start."""
    client, experiment, command = config.server._mlflow_client, _experiment(config), running.get()
    killed = unfinished(client, experiment, command)
    if killed is not None:
        _log.info("MLflow: the run %s of this command goes on.", killed)
        for name, value in writer().items():
            client.set_tag(killed, name, value)
        return killed
    tags = resolve_tags({**writer(), **({COMMAND: command} if command else {})})
    return client.create_run(experiment, tags=tags).info.run_id


def _experiment(config: KedroMlflowConfig) -> str:
    return config.tracking.experiment._experiment.experiment_id
