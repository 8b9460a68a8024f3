"""Plugins of Kedro, loaded when something of theirs is used.

Kedro imports every installed plugin before it looks at what was typed: MLflow, SQLAlchemy and
`requests` take longer than all that a run with nothing to do has to do itself.
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
        "srlm_kedro.tracking.commands.mlflow_commands",
    )
}
"""Entry points of commands that are put off: the one command that each has, and where it is."""
_VIZ = "kedro_viz.launchers.cli.main:viz_cli"
"""kedro-viz's commands, which load little by themselves."""
_REFUSED = ("kedro-telemetry",)
"""Plugins around a command that are never loaded: nobody is called."""


def put_off() -> None:
    """Has Kedro's command line load the commands of `_COMMANDS` when they are typed.

    Does nothing in a process without Kedro's command line (a notebook, a worker).
    """
    if "kedro.framework.cli.cli" not in sys.modules:
        return
    from kedro.framework.cli import utils
    from kedro.framework.cli.hooks import manager

    load = utils._safe_load_entry_point

    class Plain(utils.LazyGroup):
        """Its commands show refusals as messages, as our own do."""

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            found = copy.copy(super().get_command(ctx, cmd_name))
            if found is not None:
                found.invoke = _plainly(found.invoke)
                _put_around(found, "ui", "mlflow_page")
            return found

    def load_or_put_off(entry_point: Any) -> Any:
        if entry_point.value not in _COMMANDS:
            found = load(entry_point)
            if entry_point.value == _VIZ:
                _put_around(found.commands["viz"], "run", "viz_page")
            return found
        command, path = _COMMANDS[entry_point.value]
        return Plain(name=command.title(), lazy_subcommands={command: path})

    utils._safe_load_entry_point = load_or_put_off

    class Refusing(manager.CLIHooksManager):
        def _register_cli_hooks(self) -> None:
            for name in _REFUSED:
                self.set_blocked(name)
            super()._register_cli_hooks()

    if manager._cli_hook_manager is None:
        manager._cli_hook_manager = Refusing()


def _put_around(group: click.Group, name: str, wrapper: str) -> None:
    """Has a command of the group invoked by a function of `running.pages`, loaded with it."""
    get = group.get_command

    def get_command(ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = copy.copy(get(ctx, cmd_name))
        if found is not None and cmd_name == name:
            from srlm_kedro.running import pages  # reads conf/, which most commands need not

            found.invoke = getattr(pages, wrapper)(found.invoke)
        return found

    group.get_command = get_command


def _plainly(invoke: Callable[[click.Context], Any]) -> Callable[[click.Context], Any]:
    def invoke_plainly(ctx: click.Context) -> Any:
        try:
            return invoke(ctx)
        except InputError as error:
            raise click.ClickException(str(error)) from error

    return invoke_plainly


class InPlaceOf:
    """Hooks that do nothing, under the name of a plugin's, which therefore is never imported.

    `DISABLE_HOOKS_FOR_PLUGINS` imports what it disables.
    """

    def __init__(self, name: str) -> None:
        """`name` is that of the plugin's entry point in `kedro.hooks`."""
        self.__name__ = name  # pluggy takes it for the name of what it registers


class VizStatsHooks:
    """kedro-viz's own hooks that count rows for its pages, loaded once a pipeline runs."""

    __name__ = "kedro-dataset-stats"

    def __init__(self) -> None:
        self._catalog: CatalogProtocol | None = None
        self._hook: Any = None

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        """Keeps the catalog for them."""
        self._catalog = catalog

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Loads them."""
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
