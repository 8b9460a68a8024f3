"""Bad input is refused before any work, all faults at once."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import pandas as pd
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.validation.type_extractor import TypeExtractor
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from srlm_kedro.datasets.checkpoint import CheckpointDataset
from srlm_kedro.datasets.hub import GivenModelDataset, HubCheckpointDataset
from srlm_kedro.datasets.hugging_face import HubSeedDataset
from srlm_kedro.datasets.oasst import OasstDataset
from srlm_kedro.datasets.seed import SeedDataset
from srlm_kedro.errors import InputError
from srlm_kedro.freshness import manifest_of, output_path
from srlm_kedro.pipelines.ift.nodes import refuse_faulty_seed
from srlm_kedro.pipelines.loop import LoopParams

_MODELS = CheckpointDataset | GivenModelDataset | HubCheckpointDataset

RUN_PARAMETERS: dict[str, Any] = {
    "seed": Annotated[int, Field(strict=True, ge=0)],
    "iteration": Annotated[int, Field(strict=True, ge=1)],
    "keep_models": Literal["all"] | Annotated[int, Field(strict=True, ge=1)],
    "data": Annotated[str, Field(min_length=1)],
    "model": Annotated[str, Field(min_length=1)],
    "oasst_file": Annotated[str, Field(min_length=1)],
    "referee": Annotated[str, Field(min_length=1)],
}
"""Plain parameters: the seed of everything; how many models keep their weights; and, from the
command line, which model to make, the folder to make it in, and where environments with real data
find M0, an OASST export, a referee."""


def parameter_faults(
    given: Mapping[str, Any], pipelines: Mapping[str, Pipeline], extra: Mapping[str, type]
) -> list[str]:
    """Unknown and mistyped parameters, one line each.

    Args:
        given: All parameters, those of the command line included.
        pipelines: Every registered pipeline; the types stand in the nodes' signatures.
        extra: Further parameter groups and their types.
    """
    types = {**TypeExtractor(dict(pipelines)).extract_types_from_pipelines(), **extra}
    faults = [
        f"parameter `{name}` is unknown{_hint(name, types)}" for name in given if name not in types
    ]
    for name, expected in types.items():
        faults += _type_faults(name, given[name], expected) if name in given else []
    return faults


def idle_faults(given: Mapping[str, Any], loop: LoopParams, names: Iterable[str]) -> list[str]:
    """Parameters that nothing would read, or that something would overwrite, one line each."""
    idle = {
        "model": loop.world != "given",
        "referee": loop.world != "given",
        "oasst_file": loop.seed_data != "oasst",
        "iteration": "iteration" not in names,
    }
    faults = [
        f"parameter `{name}`: nothing reads it in this run; see `--env` and `--pipeline`"
        for name, unread in idle.items()
        if unread and name in given
    ]
    if not loop.pretrain and "m0" not in names:
        faults += [
            f"parameter `{name}`: nothing reads it in this run, for M0 comes with the project; "
            "set `loop.pretrain=true`"
            for name in _settings_of_m0(given, loop)
        ]
    world = given.get("microworld")
    if isinstance(world, Mapping) and world.get("seed_data") and "seed_data" not in names:
        faults.append(
            "parameter `microworld.seed_data`: nothing reads it in this run, for the seed data are "
            "files; `kedro run --pipeline=seed_data` makes them anew"
        )
    if loop.soft_labels and given.get("keep_models") == 1:
        faults.append("parameter `keep_models`: `loop.soft_labels` asks the newest two models")
    taken = [name for name in ("label_smoothing", "length_normalised") if _dpo(given).get(name)]
    if loop.soft_labels:
        faults += [f"parameter `dpo.{name}` does not go with `loop.soft_labels`" for name in taken]
    return faults


def _settings_of_m0(given: Mapping[str, Any], loop: LoopParams) -> list[str]:
    """Parameters that are set and that only a pretraining reads."""
    world = given.get("microworld")
    corpus = world.get("corpus") if isinstance(world, Mapping) else None
    found = {
        "pretraining": given.get("pretraining"),
        "microworld.corpus": corpus if loop.world == "microworld" else None,
    }
    return [name for name, value in found.items() if value]


def _dpo(given: Mapping[str, Any]) -> Mapping[str, Any]:
    group = given.get("dpo")
    return group if isinstance(group, Mapping) else {}


def _type_faults(name: str, value: Any, expected: Any) -> list[str]:
    try:
        TypeAdapter(expected).validate_python(value)
    except ValidationError as error:
        return [_said(name, expected, fault) for fault in error.errors(include_url=False)]
    return []


def _said(name: str, expected: Any, fault: Any) -> str:
    where = ".".join([name, *(str(part) for part in fault["loc"] if not isinstance(part, int))])
    if fault["type"] == "extra_forbidden":
        known = expected.model_fields if isinstance(expected, type(BaseModel)) else ()
        return f"parameter `{where}` is unknown{_hint(str(fault['loc'][-1]), known)}"
    return f"parameter `{where}`: {fault['msg']}, found {fault['input']!r}"


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else f" (known: {', '.join(sorted(known))})"


def data_faults(pipeline: Pipeline, catalog: CatalogProtocol) -> list[str]:
    """What is wrong with the files that the pipeline starts from, one line each."""
    names = sorted(name for name in pipeline.inputs() if not name.startswith("params:"))
    faults, seeds = [], {}
    for name in names:
        try:
            seeds |= _looked_at(name, catalog)
        except (DatasetError, InputError) as error:
            faults.append(str(error.__cause__ or error))
    try:
        refuse_faulty_seed(seeds)
    except InputError as error:
        faults.append(str(error))
    return faults


def _looked_at(name: str, catalog: CatalogProtocol) -> dict[str, pd.DataFrame]:
    dataset, path = catalog.get(name), output_path(catalog, name)
    if path is not None and not path.exists():
        raise InputError(f"{name}: {path} is not there. {_advice(name)}")
    if isinstance(dataset, _MODELS | OasstDataset):
        dataset.load()
    return {name: dataset.load()} if isinstance(dataset, SeedDataset | HubSeedDataset) else {}


def model_faults(
    models: Iterable[str], engines: Mapping[str, Any], catalog: CatalogProtocol
) -> list[str]:
    """Why the given models cannot be drawn from or trained, one line each.

    Args:
        models: Datasets that nothing makes; what is no model among them is passed over.
        engines: Those that the run uses, by their names in the catalog.
        catalog: Holds the models.
    """
    faults: list[str] = []
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


def _advice(name: str) -> str:
    if name == "m0.model":
        return "Put the model there, or name another folder."
    if model := re.fullmatch(r"m(\d+)\.model", name):
        return (
            f"Make M{model[1]} first: kedro run --pipeline=iteration --params=iteration={model[1]}"
        )
    return "Run the pipeline that makes it first, or correct its entry in the catalog."


def newest_model(catalog: CatalogProtocol) -> int:
    """The largest t of which M_1, ..., M_t all lie on disk, each made from the one before as it is.

    0 when there is no M1. A model of an elder that was remade since does not count, nor one whose
    training was killed before all that it leaves was saved.
    """
    t = 0
    elders: dict[str, str] = {}
    while found := manifest_of(catalog, f"m{t + 1}.model"):
        if any(found["parts"].get(name, digest) != digest for name, digest in elders.items()):
            break
        if manifest_of(catalog, f"m{t + 1}.train_metrics") is None:
            break
        t += 1
        best = manifest_of(catalog, f"m{t}.best")
        elders = {f"m{t}.model": found["digest"]} | ({f"m{t}.best": best["digest"]} if best else {})
    return t
