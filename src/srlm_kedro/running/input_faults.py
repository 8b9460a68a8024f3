"""What a run starts from (seed data, prompts, limits, models), looked at before any work."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from pydantic import BaseModel, ValidationError

from srlm_kedro.datasets.hub import GivenModelDataset, HubCheckpointDataset
from srlm_kedro.datasets.hugging_face import HubSeedDataset
from srlm_kedro.datasets.models import CheckpointDataset
from srlm_kedro.datasets.oasst import OasstDataset
from srlm_kedro.datasets.seed import SeedDataset
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import is_thinned
from srlm_kedro.freshness.plan import manifest_of, output_path
from srlm_kedro.judge.prompt import check_judge_prompt
from srlm_kedro.pipelines.checks.counts import (
    one_sided_split,
    too_few_demonstrations,
    too_few_prompts,
)
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.ift import refuse_faulty_seed
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams, check_few_shot_prompt
from srlm_kedro.pipelines.published.mt_bench import check_mt_bench_prompt
from srlm_kedro.validation.suite import read_suite
from srlm_kedro.validation.validate import refuse_unknown

_log = logging.getLogger(__name__)
_MODELS = CheckpointDataset | GivenModelDataset | HubCheckpointDataset
_TEMPLATES: dict[str, Callable[[str], Any]] = {
    "judge_prompt": check_judge_prompt,
    "few_shot_prompt": check_few_shot_prompt,
    "mt_bench_prompt": check_mt_bench_prompt,
}
"""Prompts that people write, with what refuses those that have no place for the texts."""


def data_faults(
    pipeline: Pipeline,
    catalog: CatalogProtocol,
    given: Mapping[str, Any],
    pipelines: Mapping[str, Pipeline],
) -> list[str]:
    """What is wrong with what the pipeline starts from, one line each.

    Args:
        pipeline: The nodes that were asked for.
        catalog: Where their files lie.
        given: All parameters.
        pipelines: Every registered pipeline, of which one may make what is missing.
    """
    unusable = _entry_faults(pipeline, catalog)
    faults = list(dict.fromkeys(unusable.values()))
    seeds: dict[str, pd.DataFrame] = {}
    for name in sorted(pipeline.inputs() - unusable.keys()):
        if name.startswith("params:"):
            continue
        try:
            seeds |= _looked_at(name, catalog, pipelines)
        except (DatasetError, InputError) as error:
            faults.append(str(error.__cause__ or error))
    try:
        refuse_faulty_seed(seeds)
    except InputError as error:
        faults.append(str(error))
    return faults + _count_faults(pipeline, seeds, given)


def suite_faults(suites: Iterable[str], catalog: CatalogProtocol) -> list[str]:
    """What of the limits Great Expectations does not know, one line each; it is loaded for that."""
    faults = []
    for name in sorted(suites):
        try:
            refuse_unknown(catalog.load(name), str(output_path(catalog, name)))
        except InputError as error:
            faults.append(str(error))
    return faults


def _entry_faults(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, str]:
    """Datasets that the catalog lacks or cannot make, with the reason."""
    faults = {name: _no_entry(name) for name in sorted(pipeline.inputs()) if name not in catalog}
    for name in sorted(pipeline.datasets() - faults.keys()):
        try:
            catalog.get(name)
        except DatasetError as error:
            faults[name] = f"{name}: its entry in the catalog cannot be used: {error}"
    return faults


def _no_entry(name: str) -> str:
    group = name.removeprefix("params:")
    if group != name:
        return (
            f"parameter `{group}`: this run reads it, and conf/ has none; write `{group}: {{}}` "
            "into parameters.yml for its defaults"
        )
    return (
        f"{name}: this run reads it, and the catalog has no such entry. Write one, choose an "
        "environment that has it (`--env`), or correct `loop`"
    )


def _looked_at(
    name: str, catalog: CatalogProtocol, pipelines: Mapping[str, Pipeline]
) -> dict[str, pd.DataFrame]:
    dataset, path = catalog.get(name), output_path(catalog, name)
    if path is not None and not path.exists():
        raise InputError(f"{name}: {path} is not there. {_advice(name, pipelines)}")
    thinned = path is not None and is_thinned(path)  # told, or made again, where it is needed
    if isinstance(dataset, _MODELS | OasstDataset) and not thinned:
        dataset.load()
    if name in _TEMPLATES:
        _TEMPLATES[name](dataset.load())
    if name.endswith("_suite"):
        read_suite(dataset.load() or {}, str(path))
    if not isinstance(dataset, SeedDataset | HubSeedDataset):
        return {}
    rows = dataset.load()
    _log.info("%s: %d rows from %s", name, len(rows), dataset.described())
    return {name: rows}


def _count_faults(
    pipeline: Pipeline, seeds: Mapping[str, pd.DataFrame], given: Mapping[str, Any]
) -> list[str]:
    """Rows and prompts that are fewer than the knobs ask for, where the knobs are sound."""
    prompts, eft, pairs = (
        _typed(name, kind, pipeline, given)
        for name, kind in (("prompts", PromptsParams), ("eft", EftParams), ("pairs", PairsParams))
    )
    writes = any(name.endswith(".written_prompts") for name in pipeline.all_outputs())
    faults: list[str] = []
    if writes and prompts and "ift_seed" in seeds:
        faults += too_few_demonstrations(seeds["ift_seed"], prompts)
    if eft and "eft_seed" in seeds:
        faults += one_sided_split(seeds["eft_seed"]["prompt"], eft)
    return faults + (too_few_prompts(prompts, pairs) if prompts and pairs else [])


def _typed(name: str, kind: type[BaseModel], pipeline: Pipeline, given: Mapping[str, Any]) -> Any:
    """The parameter group, if the pipeline reads it and nothing is wrong with it."""
    if f"params:{name}" not in pipeline.inputs():
        return None
    try:
        return kind.model_validate(given.get(name, {}))
    except ValidationError:  # told with the other parameters
        return None


def model_faults(
    models: Iterable[str], engines: Mapping[str, Any], catalog: CatalogProtocol
) -> list[str]:
    """Why the given models, and those of referees, cannot be drawn from or trained, one line each.

    Args:
        models: Datasets that nothing makes; what is no model among them is passed over.
        engines: Those that the run uses, by their names in the catalog.
        catalog: Holds the models.
    """
    faults: list[str] = []
    for name, engine in engines.items():
        try:
            if hasattr(engine, "refuse_unready"):
                engine.refuse_unready()
        except InputError as error:
            faults.append(f"{name}: {error}")
    for name in models:
        if not isinstance(catalog.get(name), _MODELS) or manifest_of(catalog, name):
            continue  # no model, or one that a run has made of one that was looked at
        for engine in engines.values():
            try:
                if hasattr(engine, "refuse_unfit"):
                    engine.refuse_unfit(catalog.load(name))
            except InputError as error:
                faults.append(str(error))
    return list(dict.fromkeys(faults))


def _advice(name: str, pipelines: Mapping[str, Pipeline]) -> str:
    if model := re.fullmatch(r"m([1-9]\d*)\.model", name):
        return (
            f"Make M{model[1]} first: kedro run --pipeline=iteration --params=iteration={model[1]}"
        )
    makers = [one for one in pipelines if name in pipelines[one].all_outputs()]
    if not makers:
        what = "model" if name.endswith(".model") else "file"
        return f"Put the {what} there, or name another in its entry in the catalog."
    least = min(makers, key=lambda one: len(pipelines[one].nodes))
    command = "kedro run" if least == "__default__" else f"kedro run --pipeline={least}"
    return f"Make it first ({command}), or correct its entry in the catalog."
