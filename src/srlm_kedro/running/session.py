"""How a run starts: which models it makes, what it refuses, what is fresh already."""

import logging
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.runner import ParallelRunner, SequentialRunner

from srlm_kedro.datasets.engine import free_engines
from srlm_kedro.errors import GateError, InputError, summary
from srlm_kedro.freshness.plan import (
    Plan,
    accept,
    input_faults,
    is_engine,
    make_plan,
    manifest_of,
    output_path,
)
from srlm_kedro.freshness.thinning import Thinning
from srlm_kedro.running.composition import FILTERS, compose_loop, raw_catalog
from srlm_kedro.running.data_folder import (
    OpenNote,
    forget_unfinished,
    mark_of,
    one_run_at_a_time,
    write_faults,
)
from srlm_kedro.running.input_faults import data_faults, model_faults, suite_faults
from srlm_kedro.running.parameter_faults import parameter_faults, place_faults
from srlm_kedro.running.progress_bar import Bar, shown
from srlm_kedro.running.selecting import select, version_faults
from srlm_kedro.running.status import ACCEPT, STATUS, accepted_text, status_table
from srlm_kedro.running.stopping import RunWatch, is_full_disk, stoppable
from srlm_kedro.tracking import command
from srlm_kedro.tracking.address import configuration, how_to_look, is_tracked, settled

_log = logging.getLogger(__name__)
_ALL = "__default__"
_MLFLOW = "mlflow_hook"
"""The name under which `MlflowHooks` is registered."""
_NEXT = """Where to look next:
  the report     {report}
  the MLflow UI  {runs}
                 (choose the runs {models} and press Compare)
  the pipelines  make viz
"""
_TOLD_TO_HOOKS = (*FILTERS, "namespaces", "load_versions")


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

        The pipelines `status` and `accept` run nothing. `status` shows what a run of the others (of
        all, where it stands alone) would make. `accept` has outputs count as fresh that differ by
        their code and libraries alone. SIGTERM ends a run as Ctrl-C does.

        Raises:
            InputError: Parameters, seed data or models that break a rule, a data folder that
                another run holds or that cannot be written; no work was done.
            GateError: What the run made breaks a limit, or the disk is full.
        """
        asked = list(pipeline_names or ([pipeline_name] if pipeline_name else []))
        names = [name for name in asked if name not in (STATUS, ACCEPT)] or None
        pipelines.set_requested(names)
        context = self.load_context()
        if STATUS in asked:
            chosen = _chosen(context, names, node_names, options)
            plan = make_plan(chosen, context.catalog)
            print(status_table(chosen, context.catalog, plan))
            return {}
        with stoppable(signal.SIGTERM), one_run_at_a_time(_data_folder(context)) as sure:
            if ACCEPT in asked:
                chosen = _chosen(context, names, node_names, options)
                print(accepted_text(accept(chosen, context.catalog)))
                return {}
            return self._make(context, names, node_names, options, sure)

    def _make(
        self,
        context: KedroContext,
        names: list[str] | None,
        node_names: Iterable[str] | None,
        options: dict[str, Any],
        sure: bool,
    ) -> dict[str, Any]:
        chosen = _chosen(context, names, node_names, options)
        catalog = context.catalog
        plan = make_plan(chosen, catalog)
        gone = [] if plan.stale else self._thin_finished(context, names)
        _announce(plan, gone)
        if plan.stale:
            _refuse_unready(chosen, plan, catalog)
            _refuse_untold(context, names)
        mark = mark_of(_data_folder(context))
        said = _identity(context, mark, names, node_names, options)
        note = OpenNote(_data_folder(context), said)
        result: dict[str, Any] = {}
        with command.at_work(said, mark if sure else ""):
            try:
                plan = self._try_first(chosen, plan, catalog)
            except BaseException as error:
                self._tell_mlflow(context, names, options, error)
                raise
            if plan.stale:
                _tell_replaced(chosen, plan, catalog)
                note.leave()
                result = self._watched(pipeline_names=names, node_names=list(plan.stale), **options)
                note.remove()
            elif note.is_left:
                self._end_left_open(context, names, options)
                note.remove()
        if _is_whole(names, node_names, options):
            forget_unfinished(_data_folder(context))
        _show_summary(chosen, context)
        return result

    def _try_first(self, chosen: Pipeline, plan: Plan, catalog: CatalogProtocol) -> Plan:
        """Makes what may turn out as it was, each node once; gives the plan of what is left.

        MLflow is told of what was made by another recipe when the rest runs. Of what was only lost
        it knows.
        """
        tried: set[str] = set()
        anew: set[str] = set()
        while first := [name for name in plan.first if name not in tried]:
            nodes = chosen.filter(node_names=first)
            with self._watch(), self._bar(None) as bar:
                if bar is not None:
                    bar.before_pipeline_run(nodes, catalog)
                SequentialRunner().run(nodes, catalog, self._hook_manager)
            free_engines(catalog, catalog)
            tried.update(first)
            anew.update(
                name for node in nodes.nodes if node.name in plan.anew for name in node.outputs
            )
            plan = make_plan(chosen, catalog)
            _announce(plan)
            command.made_before.set(frozenset(anew))
        return plan

    def _watched(self, **options: Any) -> dict[str, Any]:
        """Runs the nodes, told to MLflow and shown."""
        with self._watch(), self._bar(options.get("runner")):
            return super().run(**options)

    @contextmanager
    def _watch(self) -> Iterator[None]:
        """Who stops the nodes that run, or a full disk, ends the run in good order."""
        watch = RunWatch()
        self._hook_manager.register(watch)
        try:
            yield
        except KeyboardInterrupt as error:
            if watch.events:  # Kedro tells its hooks of other errors alone
                self._hook_manager.hook.on_pipeline_error(error=error, **watch.events)
            raise type(error)(", ".join(watch.nodes)) from None
        except Exception as error:
            if is_full_disk(error):
                raise GateError(_full_disk(watch)) from error
            raise
        finally:
            self._hook_manager.unregister(watch)

    @contextmanager
    def _bar(self, runner: Any) -> Iterator[Bar | None]:
        """Shows a bar while nodes run, where somebody watches and they run in this process."""
        with shown(not isinstance(runner, ParallelRunner)) as bar:
            if bar is not None:
                self._hook_manager.register(bar)
            try:
                yield bar
            finally:
                if bar is not None:
                    self._hook_manager.unregister(bar)

    def _thin_finished(self, context: KedroContext, names: list[str] | None) -> list[str]:
        """Thins a run of which nothing is left to make; gives the models, as `m2.model`."""
        thinning = Thinning.asked_for(Pipeline([]), context.catalog)
        due = thinning.at_its_end() if thinning else []
        if thinning and due:
            _refuse_untold(context, names)  # before a file is deleted
            thinning.finish()
            if told := self._hook_manager.get_plugin(_MLFLOW):
                told.tell_of_thinned(due, names, context.catalog)
        return due

    def _end_left_open(
        self, context: KedroContext, names: list[str] | None, options: Mapping[str, Any]
    ) -> None:
        """Nothing is left to make, but a killed run of this command may wait for its end."""
        if not is_tracked(configuration(context.config_loader), names):
            return
        from srlm_kedro.tracking.parent_run import is_left_open  # and MLflow with it

        if not is_left_open(context, command.running.get()):
            return
        self._tell_mlflow(context, names, options)

    def _tell_mlflow(
        self,
        context: KedroContext,
        names: list[str] | None,
        options: Mapping[str, Any],
        error: BaseException | None = None,
    ) -> None:
        """Tells MLflow alone of a command in which no pipeline ran: others would miscount it."""
        run_params = {name: options.get(name) for name in _TOLD_TO_HOOKS}
        run_params |= {"env": context.env, "pipeline_names": names, "node_names": None}
        if told := self._hook_manager.get_plugin(_MLFLOW):
            told.tell_of_no_nodes(run_params, context.catalog, error)


def _chosen(
    context: KedroContext,
    names: list[str] | None,
    node_names: Iterable[str] | None,
    options: Mapping[str, Any],
) -> Pipeline:
    """The nodes that were asked for, fresh or not, composed from the parameters.

    Raises:
        InputError: What is wrong with parameters, seed data and models, all at once.
    """
    given = context.config_loader["parameters"]
    if place_faults(given):
        raise InputError(summary("Refused before any work:", parameter_faults(given, pipelines)))
    try:
        raw = raw_catalog(context)
    except DatasetError as error:
        raise InputError(f"The catalog cannot be read: {error}") from error
    faults = compose_loop(given, raw, names or [_ALL])
    faults += version_faults(options.get("load_versions"), raw)
    chosen, unknown = select(names or [_ALL], node_names, options)
    faults += data_faults(chosen, raw, given, pipelines) if chosen is not None else unknown
    faults += _unknown_pipelines(names or [])
    if faults or chosen is None:
        raise InputError(summary("Refused before any work:", faults))
    return chosen


def _is_whole(
    names: list[str] | None, node_names: Iterable[str] | None, options: Mapping[str, Any]
) -> bool:
    """Whether all of the loop, or of an iteration, was asked for."""
    filtered = node_names or any(options.get(name) for name in (*FILTERS, "namespaces"))
    return not filtered and (not names or bool({_ALL, "iteration"}.intersection(names)))


def _unknown_pipelines(names: list[str]) -> list[str]:
    known = sorted({*pipelines, "iteration"})  # which is taken out where it is refused
    faults = []
    for name in names:
        close = get_close_matches(name, known, n=1)
        hint = f" did you mean `{close[0]}`?" if close else ""
        said = f"pipeline `{name}` is unknown;{hint} there are {', '.join(known)}"
        faults += [] if name in known else [said]
    return faults


def _data_folder(context: KedroContext) -> Path:
    """The folder below which the run's files lie, as the catalog reads it."""
    loader = context.config_loader
    named = loader.runtime_params.get("data")
    if not isinstance(named, str) or not named:  # refused with all other faults
        named = loader["globals"]["data"]
    return Path(context.project_path, named)


def _identity(
    context: KedroContext,
    folder: str,
    names: list[str] | None,
    node_names: Iterable[str] | None,
    options: Mapping[str, Any],
) -> str:
    """What tells this command from another one: the same again goes on with its killed run."""
    return command.identity(
        folder=folder,
        env=context.env,
        parameters=context.config_loader["parameters"],
        pipelines=sorted(names or []),
        nodes=list(node_names or []),
        **{name: options.get(name) for name in _TOLD_TO_HOOKS},
    )


def _refuse_unready(pipeline: Pipeline, plan: Plan, catalog: CatalogProtocol) -> None:
    """Looks at what is read, where outputs go, and builds the engines: none of it costs work.

    A model that is given is loaded by the engine that will draw from it, before it is trained.

    Raises:
        InputError: Damaged inputs, folders that cannot be written, limits and options of engines
            that nobody knows, models that cannot be drawn from or trained.
    """
    asked = {name for node in pipeline.nodes if node.name in plan.stale for name in node.inputs}
    made = [name for node in pipeline.nodes if node.name in plan.stale for name in node.outputs]
    paths = {name: path for name in made if (path := output_path(catalog, name)) is not None}
    faults = input_faults(pipeline.filter(node_names=list(plan.stale)), catalog)
    faults += write_faults(paths)
    faults += suite_faults([name for name in asked if name.endswith("_suite")], catalog)
    engines = {}
    for name in sorted(name for name in asked if is_engine(catalog, name)):
        try:
            engines[name] = catalog.load(name)
        except DatasetError as error:
            faults.append(f"{name}: {error.__cause__ or error}")
    if not faults:
        given = sorted(asked & pipeline.inputs() - engines.keys())
        faults = model_faults([n for n in given if not n.startswith("params:")], engines, catalog)
    if faults:
        raise InputError(summary("Refused before any work:", faults))


def _refuse_untold(context: KedroContext, names: list[str] | None) -> None:
    """Sets MLflow up, where the run is told to it: a server that is not there is known before work.

    Raises:
        InputError: Runs cannot be recorded.
    """
    config = getattr(context, "mlflow", None)
    if config is not None and is_tracked(configuration(context.config_loader), names):
        _ = config.server  # read when asked for, and not before


def _full_disk(watch: RunWatch) -> str:
    catalog = watch.events.get("catalog")
    path = output_path(catalog, watch.saving) if catalog and watch.saving else None
    what = f"{watch.saving}: {path}" if path else watch.saving or "the run"
    return (
        f"{what}: could not be written, the disk is full. All that was made before is kept. Make "
        "room; the same command goes on from there."
    )


def _announce(plan: Plan, gone: Sequence[str] = ()) -> None:
    if not plan.stale:
        due = f"Nothing to make, {len(gone)} models thinned out" if gone else "Nothing to do"
        _log.info("%s: all %d nodes are fresh.", due, len(plan.fresh))
        return
    _log.info("%d nodes to run, %d fresh and skipped.", len(plan.stale), len(plan.fresh))
    for node, reason in plan.stale.items():
        if not reason.endswith("is remade"):
            _log.info("  %s: %s", node, reason)


def _tell_replaced(pipeline: Pipeline, plan: Plan, catalog: CatalogProtocol) -> None:
    """Says which finished models a run is about to replace: they may have cost days."""
    made = [name for node in pipeline.nodes if node.name in plan.stale for name in node.outputs]
    models = [n for n in made if n.endswith(".model") and manifest_of(catalog, n) is not None]
    if models:
        names = ", ".join(name.removesuffix(".model").upper() for name in models)
        _log.info(
            "%s: made anew, in place of what lies in %s. To keep both, name another folder: "
            "--params=data=OTHER",
            *(names, output_path(catalog, models[0]).parent),  # type: ignore[union-attr]
        )


def _show_summary(pipeline: Pipeline, context: KedroContext) -> None:
    catalog = context.catalog
    if "estimate_summary" in pipeline.all_outputs():
        print(f"\n{catalog.load('estimate_summary')}")
    if "summary" in pipeline.all_outputs():
        print(f"\n{catalog.load('summary')}")
        tracking = settled(configuration(context.config_loader), Path(context.project_path))
        report, models = output_path(catalog, "report"), _compared(catalog.load("iterations"))
        print(_NEXT.format(report=report, runs=how_to_look(tracking), models=models))


def _compared(iterations: pd.DataFrame) -> str:
    """The models of the summary, by the names of their runs; the baseline where M1 is alone."""
    names = [str(name).upper() for name in iterations["model"]]
    made = [name for name in names if name != "SFT"]
    return ", ".join(made if len(made) > 1 else names)
