"""What a run says besides its stages: its plan, the models that it replaces, the closing text."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from kedro.framework.context import KedroContext
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from srlm_kedro.freshness.plan import Plan
from srlm_kedro.freshness.recipe import manifest_of, output_path
from srlm_kedro.running.stopping import RunWatch
from srlm_kedro.tracking.address import configuration, effective, where_to_look

_log = logging.getLogger(__name__)
_CLOSING = """Where to look next:
  the report     {report}
  the MLflow UI  {runs}
                 (choose the runs {models} and press Compare)
  the pipelines  make viz
"""


def announce_plan(plan: Plan, thinned: Sequence[str] = ()) -> None:
    """Logs how many nodes run and are skipped, and why each of the first stale nodes runs.

    Args:
        plan: Of the nodes that were asked for.
        thinned: Models whose weights were just deleted because nothing is left to make.
    """
    if not plan.stale:
        due = f"Nothing to make, {len(thinned)} models thinned out" if thinned else "Nothing to do"
        _log.info("%s: all %d nodes are fresh.", due, len(plan.fresh))
        return
    _log.info("%d nodes to run, %d fresh and skipped.", len(plan.stale), len(plan.fresh))
    for node, reason in plan.stale.items():
        if not reason.endswith("is remade"):
            _log.info("  %s: %s", node, reason)


def announce_replaced(pipeline: Pipeline, plan: Plan, catalog: CatalogProtocol) -> None:
    """Logs which finished models a run will replace: they may have cost days."""
    made = [name for node in pipeline.nodes if node.name in plan.stale for name in node.outputs]
    models = [n for n in made if n.endswith(".model") and manifest_of(catalog, n) is not None]
    if models:
        names = ", ".join(name.removesuffix(".model").upper() for name in models)
        _log.info(
            "%s: made again; this replaces what is in %s. To keep both, name another folder: "
            "--params=data=OTHER",
            *(names, output_path(catalog, models[0]).parent),  # type: ignore[union-attr]
        )


def disk_full_message(watch: RunWatch) -> str:
    """The message of a run that ended because the disk is full, with the file it was writing."""
    catalog = watch.events.get("catalog")
    path = output_path(catalog, watch.saving) if catalog and watch.saving else None
    what = f"{watch.saving}: {path}" if path else watch.saving or "the run"
    return (
        f"{what}: could not be written, the disk is full. All that was made before is kept. Make "
        "room; the same command goes on from there."
    )


def print_closing(pipeline: Pipeline, context: KedroContext) -> None:
    """Prints the summary, if the pipeline makes one, and where to look next."""
    catalog = context.catalog
    for name in ("estimate_summary", "readiness_summary"):
        if name in pipeline.all_outputs():
            print(f"\n{catalog.load(name)}")
    if "summary" in pipeline.all_outputs():
        print(f"\n{catalog.load('summary')}")
        tracking = effective(configuration(context.config_loader), Path(context.project_path))
        report = output_path(catalog, "report")
        models = _models_to_compare(catalog.load("iterations"))
        print(_CLOSING.format(report=report, runs=where_to_look(tracking), models=models))


def _models_to_compare(iterations: pd.DataFrame) -> str:
    """The names of the models' runs; the SFT baseline is among them only if M1 has no successor."""
    names = [str(name).upper() for name in iterations["model"]]
    made = [name for name in names if name != "SFT"]
    return ", ".join(made if len(made) > 1 else names)
