"""The parent run of a pipeline run, as kedro-mlflow opens and closes it, in two points ours."""

import logging
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import mlflow
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook

from srlm_kedro.tracking.recorder import RunRecorder

_SQLITE = "sqlite:///"
_MEMORY = ":memory:"


class ParentRunHooks(MlflowHook):
    """kedro-mlflow's hooks with a database that stays in the project, and no parameters.

    kedro-mlflow writes a typed parameter group as one long string; `RunRecorder` writes each
    value by itself. To be used in place of the plugin's own hooks (`DISABLE_HOOKS_FOR_PLUGINS`
    with `kedro_mlflow`, underscore and all).
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Sets MLflow up for the project, whatever the working directory."""
        # Migration notes of a library's library are no news to a user.
        logging.getLogger("alembic").setLevel(logging.WARNING)
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
        super().before_pipeline_run(typed, pipeline, catalog)

    @hook_impl
    def before_node_run(self) -> None:
        """Nothing: here kedro-mlflow writes parameters, and opens the run anew for each node."""


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


def open_recorder(registered_model: str) -> RunRecorder | None:
    """A recorder below the run that is open in this thread, or None if there is none."""
    active = mlflow.active_run()
    if active is None:
        return None
    return RunRecorder(mlflow.MlflowClient(), active.info.run_id, registered_model)
