"""The last checks before work: damaged inputs, engines, models, folders that cannot be written."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline

from srlm_kedro.display.commands import run_command
from srlm_kedro.errors import InputError, summary
from srlm_kedro.freshness.plan import Plan, input_faults
from srlm_kedro.freshness.recipe import is_engine, manifest_of, output_path
from srlm_kedro.running.input_faults import GIVEN_MODELS
from srlm_kedro.tracking.address import configuration, is_tracked
from srlm_kedro.validation.validate import refuse_unknown

_TRAINER = "training_engine"
_TRAININGS = ("params:sft", "params:dpo")
_LISTED = 3
"""How many datasets a message lists for a folder."""


def refuse_unready(pipeline: Pipeline, plan: Plan, catalog: CatalogProtocol) -> None:
    """Checks what the stale nodes read and where they write, and builds their engines.

    Each model that the user gave is loaded by the engine that will draw from it, before training.

    Raises:
        InputError: Inputs are damaged, folders cannot be written, limits or options of engines are
            unknown, or models cannot be drawn from or trained.
    """
    due = [node for node in pipeline.nodes if node.name in plan.stale]
    asked = {name for node in due for name in node.inputs}
    made = [name for node in due for name in node.outputs]
    paths = {name: path for name in made if (path := output_path(catalog, name)) is not None}
    faults = input_faults(pipeline.filter(node_names=list(plan.stale)), catalog, run_command())
    faults += write_faults(paths)
    faults += _suite_faults([name for name in asked if name.endswith("_suite")], catalog)
    engines = {}
    for name in sorted(name for name in asked if is_engine(catalog, name)):
        try:
            engines[name] = catalog.load(name)
        except DatasetError as error:
            faults.append(f"{name}: {error.__cause__ or error}")
    if not faults:
        given = sorted(asked & pipeline.inputs() - engines.keys())
        models = [name for name in given if not name.startswith("params:")]
        trained = {name for node in due if _TRAINER in node.inputs for name in node.inputs}
        trainings = [catalog.load(name) for name in _TRAININGS if name in trained]
        faults = model_faults(models, engines, catalog, trainings, trained)
    if faults:
        raise InputError(summary("Refused before any work:", faults))


def refuse_unrecorded(context: KedroContext, names: list[str] | None) -> None:
    """Sets MLflow up if the run is recorded, so that a missing server is known before any work.

    Raises:
        InputError: Runs cannot be recorded.
    """
    config = getattr(context, "mlflow", None)
    if config is not None and is_tracked(configuration(context.config_loader), names):
        _ = config.server  # reading it sets MLflow up


def write_faults(outputs: Mapping[str, Path]) -> list[str]:
    """Folders into which outputs cannot be written, one line each.

    Args:
        outputs: The path of each dataset.
    """
    refused: dict[Path, list[str]] = {}
    for name, path in outputs.items():
        folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            refused.setdefault(folder, []).append(name)
    return [
        f"{folder}: {_listed(names)} cannot be written there; make it a folder that you may write "
        "to"
        for folder, names in refused.items()
    ]


def model_faults(
    models: Iterable[str],
    engines: Mapping[str, Any],
    catalog: CatalogProtocol,
    trainings: Sequence[Any] = (),
    trained: Collection[str] = (),
) -> list[str]:
    """Why given models, and those of referees, cannot be drawn from or trained, one line each.

    Args:
        models: Datasets that no node makes; those that are no models are skipped.
        engines: The engines of the run, by their names in the catalog.
        catalog: Holds the models.
        trainings: Parameters of the trainings of the run.
        trained: The models that they train.
    """
    faults: list[str] = []
    for name, engine in engines.items():
        try:
            if hasattr(engine, "refuse_unready"):
                engine.refuse_unready()
        except InputError as error:
            faults.append(f"{name}: {error}")
    for name in models:
        if not isinstance(catalog.get(name), GIVEN_MODELS) or manifest_of(catalog, name):
            continue  # no model, or one that an earlier run trained from a checked one
        for engine in engines.values():
            try:
                if hasattr(engine, "refuse_unfit"):
                    engine.refuse_unfit(catalog.load(name))
                if name in trained and hasattr(engine, "refuse_trainings"):
                    engine.refuse_trainings(catalog.load(name), trainings)
            except InputError as error:
                faults.append(str(error))
    return list(dict.fromkeys(faults))


def _suite_faults(suites: Iterable[str], catalog: CatalogProtocol) -> list[str]:
    """Limits that Great Expectations does not know, one line each; this loads the package."""
    faults = []
    for name in sorted(suites):
        try:
            refuse_unknown(catalog.load(name), str(output_path(catalog, name)))
        except InputError as error:
            faults.append(str(error))
    return faults


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
