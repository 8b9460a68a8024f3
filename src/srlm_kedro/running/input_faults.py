"""Faults of what a run starts from: catalog entries, seed data, prompts, limits, given models."""

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import pandas as pd
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.utils import load_obj
from pydantic import BaseModel, ValidationError

from srlm_kedro.datasets.hub import GivenModelDataset, HubCheckpointDataset
from srlm_kedro.datasets.hugging_face import HubSeedDataset
from srlm_kedro.datasets.model_size import ModelSizeDataset
from srlm_kedro.datasets.models import CheckpointDataset
from srlm_kedro.datasets.oasst import OasstDataset
from srlm_kedro.datasets.seed import SeedDataset
from srlm_kedro.display.commands import run_command
from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import is_thinned
from srlm_kedro.freshness.recipe import output_path
from srlm_kedro.judge.criteria import check_criteria_prompt
from srlm_kedro.judge.prompt import check_judge_prompt
from srlm_kedro.pipelines.checks.counts import (
    one_sided_split,
    too_few_demonstrations,
    too_few_prompts,
)
from srlm_kedro.pipelines.eft.labels import label_faults, select_labelled
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.ift import prepare_eft, refuse_faulty_seed
from srlm_kedro.pipelines.pairs import PairsParams
from srlm_kedro.pipelines.prompts.params import PromptsParams, check_few_shot_prompt
from srlm_kedro.pipelines.published.mt_bench import check_mt_bench_prompt
from srlm_kedro.validation.suite import read_suite

_FETCHED = GivenModelDataset | HubCheckpointDataset
GIVEN_MODELS = CheckpointDataset | _FETCHED
"""Types of datasets that hold a model which no node makes."""
_LONGEST = 2000
"""Characters of another library's message."""
_GIVEN = {"oasst_messages": "oasst_file"}
"""Files that a parameter names in the environments of the project."""
_log = logging.getLogger(__name__)
_TEMPLATES: dict[str, Callable[[Any], Any]] = {
    "judge_prompt": check_judge_prompt,
    "few_shot_prompt": check_few_shot_prompt,
    "criteria_prompt": check_criteria_prompt,
    "mt_bench_prompt": check_mt_bench_prompt,
}
"""Prompts that people write, with the function that refuses one without the placeholders."""


def data_faults(
    pipeline: Pipeline,
    catalog: CatalogProtocol,
    given: Mapping[str, Any],
    pipelines: Mapping[str, Pipeline],
    is_run: bool = True,
) -> list[str]:
    """What is wrong with the inputs of the pipeline that no node of it makes, one line each.

    Args:
        pipeline: The nodes that were asked for.
        catalog: Holds their files.
        given: All parameters.
        pipelines: Every registered pipeline, to name one that makes a missing input.
        is_run: Whether nodes will run. Given models are downloaded and converted only then, and
            only if nothing else is wrong.
    """
    unusable = _entry_faults(pipeline, catalog)
    faults = list(dict.fromkeys(unusable.values()))
    seeds: dict[str, pd.DataFrame] = {}
    for name in sorted(pipeline.inputs() - unusable.keys()):
        if name.startswith("params:"):
            continue
        try:
            seeds |= _check_input(name, catalog, pipelines)
        except (DatasetError, InputError) as error:
            faults.append(_told(error))
    try:
        refuse_faulty_seed(seeds)
    except InputError as error:
        faults.append(str(error))
    faults += _label_faults(pipeline, seeds, catalog)
    faults += _count_faults(pipeline, seeds, given)
    return faults if faults or not is_run else _fetching_faults(pipeline, catalog)


def _fetching_faults(pipeline: Pipeline, catalog: CatalogProtocol) -> list[str]:
    """Downloads and converts the given models; why some cannot be had, one line each."""
    faults = []
    for name in sorted(pipeline.inputs()):
        try:
            if isinstance(catalog.get(name), _FETCHED):
                catalog.load(name)
        except DatasetError as error:
            faults.append(_told(error))
    return faults


def _told(error: Exception) -> str:
    """Our own message inside of Kedro's, or the error's."""
    return str(error.__cause__ or error) if isinstance(error, DatasetError) else str(error)


def _entry_faults(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, str]:
    """Datasets without an entry in the catalog, or with one that cannot be used, and why."""
    missing = [name for name in sorted(pipeline.inputs()) if name not in catalog]
    faults = {name: _no_entry_message(name) for name in missing}
    for name in sorted(pipeline.datasets() - faults.keys()):
        try:
            catalog.get(name)
        except DatasetError as error:
            faults[name] = f"{name}: its entry in the catalog cannot be used: {_reason(error)}"
    return faults


def _reason(error: DatasetError) -> str:
    """Why Kedro could not make a dataset, without what Kedro says around it."""
    cause = error.__cause__
    if isinstance(cause, InputError):
        return str(cause)
    unknown = re.search(r"got an unexpected keyword argument '(\w+)'", str(cause))
    kind = re.search(r"constructor of '([\w.]+)'", str(error))
    if not (unknown and kind):
        return one_line(str(error), _LONGEST)
    known = list(inspect.signature(load_obj(kind[1])).parameters)
    close = get_close_matches(unknown[1], known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(known)}"
    return f"{kind[1].rpartition('.')[2]} has no option `{unknown[1]}`; {hint}"


def _no_entry_message(name: str) -> str:
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


def _check_input(
    name: str, catalog: CatalogProtocol, pipelines: Mapping[str, Pipeline]
) -> dict[str, pd.DataFrame]:
    """The rows of seed data by their name; nothing for other inputs.

    Raises:
        InputError: The input is missing or breaks a rule.
        DatasetError: The input cannot be read.
    """
    dataset, path = catalog.get(name), output_path(catalog, name)
    if path is not None and not path.exists():
        raise InputError(f"{name}: {path} is not there. {_advice(name, pipelines)}")
    thinned = path is not None and is_thinned(path)  # refused or made again if a node needs it
    if isinstance(dataset, _FETCHED):
        dataset.check()
    elif isinstance(dataset, CheckpointDataset | OasstDataset | ModelSizeDataset) and not thinned:
        dataset.load()
    if name in _TEMPLATES:
        prompt = dataset.load()
        try:
            _TEMPLATES[name](prompt)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    if name.endswith("_suite"):
        read_suite(dataset.load() or {}, str(path))
    if not isinstance(dataset, SeedDataset | HubSeedDataset):
        return {}
    rows = dataset.load()
    _log.info("%s: %d rows from %s", name, len(rows), dataset.described())
    return {name: rows}


def _label_faults(
    pipeline: Pipeline, seeds: Mapping[str, pd.DataFrame], catalog: CatalogProtocol
) -> list[str]:
    """Ranked responses without points that fit the criteria, if M1 learns from these."""
    reads = any(node.func is select_labelled for node in pipeline.nodes)
    if not reads or "eft_seed" not in seeds:
        return []
    try:
        return label_faults(prepare_eft(seeds["eft_seed"]), catalog.load("criteria_prompt"))
    except DatasetError:  # refused with the other inputs
        return []


def _count_faults(
    pipeline: Pipeline, seeds: Mapping[str, pd.DataFrame], given: Mapping[str, Any]
) -> list[str]:
    """Too few rows or prompts for what the parameters ask for, one line each."""
    prompts, eft, pairs = (
        _parameters(name, kind, pipeline, given)
        for name, kind in (("prompts", PromptsParams), ("eft", EftParams), ("pairs", PairsParams))
    )
    writes = any(name.endswith("written_prompts") for name in pipeline.all_outputs())
    faults: list[str] = []
    if writes and prompts and "ift_seed" in seeds:
        faults += too_few_demonstrations(seeds["ift_seed"], prompts)
    if eft and "eft_seed" in seeds:
        faults += one_sided_split(seeds["eft_seed"]["prompt"], eft)
    return faults + (too_few_prompts(prompts, pairs) if prompts and pairs else [])


def _parameters(
    name: str, kind: type[BaseModel], pipeline: Pipeline, given: Mapping[str, Any]
) -> Any:
    """The parameter group; None if the pipeline does not read it or it has a fault."""
    if f"params:{name}" not in pipeline.inputs():
        return None
    try:
        return kind.model_validate(given.get(name, {}))
    except ValidationError:  # refused with the other parameters
        return None


def making(model: str) -> str:
    """The command that makes the SFT baseline or M_t, as `sft` or `m2` names it."""
    if model in ("sft", "m1"):
        return run_command("foundation")
    return run_command("iteration", {"iteration": model.removeprefix("m")})


def _advice(name: str, pipelines: Mapping[str, Pipeline]) -> str:
    if model := re.fullmatch(r"(sft|m[1-9]\d*)\.model", name):
        return f"Make {model[1].upper()} first ({making(model[1])})."
    makers = [one for one in pipelines if name in pipelines[one].all_outputs()]
    if not makers:
        what = "model" if name.endswith(".model") else "file"
        given = f"by --params={_GIVEN[name]}=FILE or " if name in _GIVEN else ""
        return f"Put the {what} there, or name another {given}in its entry in the catalog."
    least = min(makers, key=lambda one: len(pipelines[one].nodes))
    command = run_command("" if least == "__default__" else least)
    return f"Make it first ({command}), or correct its entry in the catalog."
