"""Kedro plugins are loaded only when something of theirs is used.

Kedro imports every installed plugin before it reads the command. Importing MLflow, SQLAlchemy and
`requests` takes longer than a whole run that has nothing to do.
"""

import copy
import sys
from collections.abc import Callable
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol

from srlm_kedro.errors import InputError

_COMMANDS = {
    "kedro_mlflow.framework.cli.cli:commands": (
        "mlflow",
        "srlm_kedro.tracking.mlflow_ui.mlflow_commands",
    )
}
"""Entry points whose commands are loaded late: the one command of each, and its path."""
_VIZ = "kedro_viz.launchers.cli.main:viz_cli"
"""The entry point of kedro-viz's commands; it loads little by itself."""
_BLOCKED = ("kedro-telemetry",)
"""Plugins with hooks around commands that are never loaded: this project calls nobody."""


def load_commands_late() -> None:
    """Has Kedro's command line load the commands of `_COMMANDS` only when they are typed.

    Does nothing in a process without Kedro's command line (a notebook, a worker).
    """
    if "kedro.framework.cli.cli" not in sys.modules:
        return
    from kedro.framework.cli import utils
    from kedro.framework.cli.hooks import manager

    load = utils._safe_load_entry_point

    class LateGroup(utils.LazyGroup):
        """A group whose commands show refusals as messages, as this project's own commands do."""

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            found = copy.copy(super().get_command(ctx, cmd_name))
            if found is not None:
                found.invoke = _show_refusals(found.invoke)
                wrap_command(found, "ui", "mlflow_page")
            return found

    def load_entry_point(entry_point: Any) -> Any:
        if entry_point.value not in _COMMANDS:
            found = load(entry_point)
            if entry_point.value == _VIZ:
                wrap_command(found.commands["viz"], "run", "viz_page")
            return found
        command, path = _COMMANDS[entry_point.value]
        return LateGroup(name=command.title(), lazy_subcommands={command: path})

    utils._safe_load_entry_point = load_entry_point

    class BlockingManager(manager.CLIHooksManager):
        def _register_cli_hooks(self) -> None:
            for name in _BLOCKED:
                self.set_blocked(name)
            super()._register_cli_hooks()

    if manager._cli_hook_manager is None:
        manager._cli_hook_manager = BlockingManager()


def wrap_command(group: click.Group, name: str, wrapper: str) -> None:
    """Has a command of the group invoked through a function of `running.pages`, loaded late."""
    get = group.get_command

    def get_command(ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = copy.copy(get(ctx, cmd_name))
        if found is not None and cmd_name == name:
            from srlm_kedro.running import pages

            found.invoke = getattr(pages, wrapper)(found.invoke)
        return found

    group.get_command = get_command


def _show_refusals(invoke: Callable[[click.Context], Any]) -> Callable[[click.Context], Any]:
    def invoke_with_messages(ctx: click.Context) -> Any:
        try:
            return invoke(ctx)
        except InputError as error:
            raise click.ClickException(str(error)) from error

    return invoke_with_messages


class DisabledHooks:
    """Hooks that do nothing; they take a plugin's name, so that Kedro never imports the plugin.

    Kedro's setting `DISABLE_HOOKS_FOR_PLUGINS` would import what it disables.
    """

    def __init__(self, name: str) -> None:
        """`name` is the name of the plugin's entry point in `kedro.hooks`."""
        self.__name__ = name  # pluggy registers the object under this name


class VizStatsHooks:
    """kedro-viz's own hooks that count rows for its pages, loaded when a pipeline runs."""

    __name__ = "kedro-dataset-stats"

    def __init__(self) -> None:
        self._catalog: CatalogProtocol | None = None
        self._hook: Any = None

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        """Keeps the catalog for kedro-viz's hooks."""
        self._catalog = catalog

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Loads kedro-viz's hooks."""
        from kedro_viz.integrations.kedro.hooks import DatasetStatsHook

        self._hook = DatasetStatsHook()
        self._hook.after_catalog_created(self._catalog)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """As theirs."""
        if self._hook is not None:
            self._hook.after_dataset_loaded(dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """As theirs."""
        if self._hook is not None:
            self._hook.after_dataset_saved(dataset_name, data)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """As theirs."""
        if self._hook is not None:
            self._hook.after_pipeline_run()
        self._hook = None
