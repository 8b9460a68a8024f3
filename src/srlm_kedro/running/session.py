"""A Kedro session that runs what is not fresh: from the refusal of bad input to the closing text.

The steps have files of their own: `selecting` (which nodes), `readiness` (what is refused last),
`messages` (what is announced), `stopping`, `data_folder` and `progress_bar`.
"""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import ParallelRunner

from srlm_kedro.datasets.engine import free_engines
from srlm_kedro.errors import GateError
from srlm_kedro.freshness.plan import Plan, accept, make_plan
from srlm_kedro.freshness.thinning import Thinning
from srlm_kedro.running.data_folder import (
    RunNote,
    data_folder,
    delete_unfinished,
    folder_id,
    one_run_at_a_time,
)
from srlm_kedro.running.messages import (
    announce_plan,
    announce_replaced,
    disk_full_message,
    print_closing,
)
from srlm_kedro.running.order import CheapFirstRunner, cheap_first
from srlm_kedro.running.progress_bar import Bar, progress_bar
from srlm_kedro.running.readiness import refuse_unready, refuse_unrecorded
from srlm_kedro.running.selecting import RunRequest, choose_nodes
from srlm_kedro.running.status import ACCEPT, STATUS, accepted_text, status_table
from srlm_kedro.running.stopping import RunWatch, is_disk_full, stoppable
from srlm_kedro.tracking import run_owner
from srlm_kedro.tracking.address import configuration, is_tracked

_MLFLOW = "mlflow_hook"
"""The name under which `MlflowHooks` is registered."""


class LoopSession(KedroSession):
    """A Kedro session that composes the loop from its parameters and runs what is not fresh."""

    def run(  # type: ignore[override]
        self,
        pipeline_name: str | None = None,
        pipeline_names: list[str] | None = None,
        node_names: Iterable[str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Runs the stale nodes of the chosen pipelines; see `KedroSession.run` for the options.

        The pipelines `status` and `accept` run nothing. `status` shows what a run of the other
        pipelines named beside it would make (of `__default__` if none is named). `accept` marks
        outputs as fresh that are stale only because code or libraries changed. SIGTERM ends a run
        as Ctrl-C does.

        Raises:
            InputError: Parameters, seed data or models break a rule, or another run holds the data
                folder, or the folder cannot be written. No work was done.
            GateError: What the run made breaks a limit, or the disk is full.
        """
        asked = list(pipeline_names or ([pipeline_name] if pipeline_name else []))
        names = [name for name in asked if name not in (STATUS, ACCEPT)] or None
        request = RunRequest(names, list(node_names or []), options)
        pipelines.set_requested(names)
        context = self.load_context()
        if STATUS in asked:
            chosen = choose_nodes(context, request, is_run=False)
            plan = make_plan(chosen, context.catalog)
            print(status_table(chosen, context.catalog, plan))
            return {}
        with stoppable(signal.SIGTERM), one_run_at_a_time(data_folder(context)) as locked:
            chosen = choose_nodes(context, request, is_run=ACCEPT not in asked)
            if ACCEPT in asked:
                print(accepted_text(accept(chosen, context.catalog)))
                return {}
            return self._make(context, chosen, request, locked)

    def _make(
        self, context: KedroContext, chosen: Pipeline, request: RunRequest, locked: bool
    ) -> dict[str, Any]:
        """Refuses what cannot work, makes what is not fresh, and prints where to look next."""
        catalog = context.catalog
        plan = make_plan(chosen, catalog)
        announce_plan(plan, [] if plan.stale else self._thin_finished(context, request))
        if plan.stale:
            refuse_unready(chosen, plan, catalog)
            refuse_unrecorded(context, request.pipelines)
        result = self._run_recorded(context, chosen, plan, request, locked)
        if request.is_whole:
            delete_unfinished(data_folder(context))
        print_closing(chosen, context)
        return result

    def _run_recorded(
        self,
        context: KedroContext,
        chosen: Pipeline,
        plan: Plan,
        request: RunRequest,
        locked: bool,
    ) -> dict[str, Any]:
        """Runs the stale nodes as one MLflow run, which continues a killed run of this command."""
        catalog, folder = context.catalog, data_folder(context)
        identifier = folder_id(folder)
        command = request.identity(context, identifier)
        note = RunNote(folder, command)
        with run_owner.command_at_work(command, identifier if locked else ""):
            try:
                plan = self._run_first(chosen, plan, catalog)
            except BaseException as error:
                self._record_without_nodes(context, request, error)
                raise
            if plan.stale:
                announce_replaced(chosen, plan, catalog)
                note.leave()
                result = self._run_stale(chosen, plan, request)
                note.remove()
                return result
            if note.is_left:
                self._end_killed_run(context, request)
                note.remove()
        return {}

    def _run_first(self, chosen: Pipeline, plan: Plan, catalog: CatalogProtocol) -> Plan:
        """Runs each node whose output may come out unchanged; returns the plan of what is left.

        If a recipe changed, MLflow records these outputs together with the rest of the run. If
        only files were lost, MLflow has recorded them before.
        """
        tried: set[str] = set()
        remade: set[str] = set()
        while first := [name for name in plan.first if name not in tried]:
            nodes = chosen.filter(node_names=first)
            with self._watched(), self._bar(None) as bar:
                if bar is not None:
                    bar.before_pipeline_run(nodes, catalog)
                CheapFirstRunner(chosen).run(nodes, catalog, self._hook_manager)
            free_engines(catalog, catalog)
            tried.update(first)
            remade.update(
                name
                for node in nodes.nodes
                if node.name in plan.first_changed
                for name in node.outputs
            )
            plan = make_plan(chosen, catalog)
            announce_plan(plan)
            run_owner.made_before_tracking.set(frozenset(remade))
        return plan

    def _run_stale(self, chosen: Pipeline, plan: Plan, request: RunRequest) -> dict[str, Any]:
        """Runs the stale nodes by Kedro's own session, which calls the hooks."""
        asked = request.options.get("runner")
        options = {**request.options, "runner": cheap_first(asked, chosen)}
        with self._watched(), self._bar(options["runner"]):
            return super().run(
                pipeline_names=request.pipelines, node_names=list(plan.stale), **options
            )

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM name the nodes at work, and a full disk is a `GateError`."""
        watch = RunWatch()
        self._hook_manager.register(watch)
        try:
            yield
        except KeyboardInterrupt as error:
            if watch.events:  # Kedro itself calls this hook only for other errors
                self._hook_manager.hook.on_pipeline_error(error=error, **watch.events)
            raise type(error)(", ".join(watch.nodes)) from None
        except Exception as error:
            if is_disk_full(error):
                raise GateError(disk_full_message(watch)) from error
            raise
        finally:
            self._hook_manager.unregister(watch)

    @contextmanager
    def _bar(self, runner: Any) -> Iterator[Bar | None]:
        """Shows a bar if stderr is a terminal and the nodes run in this process."""
        with progress_bar(not isinstance(runner, ParallelRunner)) as bar:
            if bar is not None:
                self._hook_manager.register(bar)
            try:
                yield bar
            finally:
                if bar is not None:
                    self._hook_manager.unregister(bar)

    def _thin_finished(self, context: KedroContext, request: RunRequest) -> list[str]:
        """Deletes weights by `keep_models` if no node is stale; returns models, as `m2.model`."""
        thinning = Thinning.from_catalog(Pipeline([]), context.catalog)
        due = thinning.due_at_end() if thinning else []
        if thinning and due:
            refuse_unrecorded(context, request.pipelines)  # before a file is deleted
            thinning.finish()
            if hooks := self._hook_manager.get_plugin(_MLFLOW):
                hooks.record_thinned(due, request.pipelines, context.catalog)
        return due

    def _end_killed_run(self, context: KedroContext, request: RunRequest) -> None:
        """Closes the MLflow run that a killed run of this command left open."""
        if not is_tracked(configuration(context.config_loader), request.pipelines):
            return
        from srlm_kedro.tracking.parent_run import is_left_open  # this loads MLflow

        if is_left_open(context, run_owner.current_command.get()):
            self._record_without_nodes(context, request)

    def _record_without_nodes(
        self, context: KedroContext, request: RunRequest, error: BaseException | None = None
    ) -> None:
        """Records in MLflow a command that ran no pipeline; other hooks are not called."""
        if hooks := self._hook_manager.get_plugin(_MLFLOW):
            hooks.record_without_nodes(request.run_params(context.env), context.catalog, error)
