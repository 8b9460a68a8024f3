"""The parent run of a pipeline run, as kedro-mlflow opens and closes it, in a few points ours."""

import logging
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import mlflow
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Pipeline
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.tracking.context.registry import resolve_tags

from srlm_kedro.tracking.command import COMMAND, running, unfinished
from srlm_kedro.tracking.process import PROCESS, this_process
from srlm_kedro.tracking.recorder import Digest, RunRecorder

_log = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
_MEMORY = ":memory:"


class ParentRunHooks(MlflowHook):
    """kedro-mlflow's hooks with a database that stays in the project, and no parameters.

    kedro-mlflow writes a typed parameter group as one long string; `RunRecorder` writes each
    value by itself. A killed run of the same command is opened again instead of another, and one
    that is stopped is closed as KILLED. `hooks.mlflow.MlflowHooks` makes them, in place of the
    plugin's own hooks.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Sets MLflow up for the project, whatever the working directory."""
        _quieten()
        loader = context.config_loader
        loader.config_patterns.setdefault("mlflow", ["mlflow*", "mlflow*/**", "**/mlflow*"])
        with suppress(MissingConfigException):  # kedro-mlflow says so itself
            loader["mlflow"] = anchored(loader["mlflow"], Path(context.project_path))
        super().after_context_created(context)

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Opens the parent run; its tags hold the command as it was typed.

        The nodes named in `run_params` are those that are not fresh: no one asked for them.
        """
        typed = {**run_params, "node_names": None, "runner": None}
        tracking = self.mlflow_config.tracking
        ours = tracking.run.id is None and _is_tracked(
            self.mlflow_config, run_params.get("pipeline_names")
        )
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


def anchored(config: dict[str, Any], project: Path) -> dict[str, Any]:
    """The configuration with a relative SQLite path made absolute, and its folder made."""
    config = deepcopy(config)
    uri = config.get("server", {}).get("mlflow_tracking_uri") or ""
    path = uri.removeprefix(_SQLITE)
    if uri.startswith(_SQLITE) and path and path != _MEMORY:
        file = project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        config["server"]["mlflow_tracking_uri"] = f"{_SQLITE}{file}"
    return config


def is_left_open(context: KedroContext, names: list[str] | None, command: str) -> bool:
    """Whether the command's newest run was killed, so that it waits for its end."""
    config: KedroMlflowConfig | None = getattr(context, "mlflow", None)
    if config is None or config.tracking.run.id or not _is_tracked(config, names):
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
        client.set_tag(killed, PROCESS, this_process())
        return killed
    tags = resolve_tags({PROCESS: this_process(), **({COMMAND: command} if command else {})})
    return client.create_run(experiment, tags=tags).info.run_id


def _is_tracked(config: KedroMlflowConfig, names: list[str] | None) -> bool:
    untracked = config.tracking.disable_tracking.pipelines
    return not all(name in untracked for name in names or ["__default__"])


def _experiment(config: KedroMlflowConfig) -> str:
    return config.tracking.experiment._experiment.experiment_id
