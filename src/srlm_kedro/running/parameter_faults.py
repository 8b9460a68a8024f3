"""Parameters that break a rule are refused before any work, all faults at once."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.validation.type_extractor import TypeExtractor
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from srlm_kedro.freshness.plan import manifest_of
from srlm_kedro.params import MANY, SEED
from srlm_kedro.pipelines import published
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import chain, seed_tables, self_rewarding

RUN_PARAMETERS: dict[str, Any] = {
    "seed": Annotated[int, Field(strict=True, ge=0, le=SEED)],
    "iteration": Annotated[int, Field(strict=True, ge=1, le=1000)],
    "keep_models": Literal["all"] | Annotated[int, Field(strict=True, ge=1, le=MANY)],
    "data": Annotated[str, Field(min_length=1)],
    "model": Annotated[str, Field(min_length=1)],
    "oasst_file": Annotated[str, Field(min_length=1)],
    "referee": Annotated[str, Field(min_length=1)],
}
"""Plain parameters: the seed of everything; how many models keep their weights; and, from the
command line, which model to make, the folder to make it in, and where environments with real data
find M0, an OASST export, a referee."""

_PLACES = ("data", "model", "oasst_file", "referee")
"""Those of them that stand in paths of the catalog."""
_FOLLOWS = "default_factory_not_called"
"""How pydantic tells of a default that depends on another value, which is at fault itself."""


def parameter_types(pipelines: Mapping[str, Pipeline]) -> dict[str, Any]:
    """Every parameter by name, with its type, which stands in the signatures of the nodes.

    What a loop leaves out keeps its parameters in the files of `conf/`: they are known all the
    same.
    """
    whole = LoopParams()
    every = {"every stage": self_rewarding(whole)}
    every["every table"] = seed_tables(LoopParams(seed_data="oasst"))
    every |= {
        f"every {name}": pipeline
        for name, pipeline in published.create_pipelines(chain(whole.iterations)).items()
    }
    found = TypeExtractor({**pipelines, **every}).extract_types_from_pipelines()
    return {**found, "loop": LoopParams, **RUN_PARAMETERS}


def parameter_faults(given: Mapping[str, Any], pipelines: Mapping[str, Pipeline]) -> list[str]:
    """Unknown and mistyped parameters, one line each.

    Args:
        given: All parameters, those of the command line included.
        pipelines: Every registered pipeline.
    """
    types = parameter_types(pipelines)
    faults = [
        f"parameter `{name}` is unknown{_hint(name, types)}" for name in given if name not in types
    ]
    for name, expected in types.items():
        faults += _type_faults(name, given[name], expected) if name in given else []
    return faults


def place_faults(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the parameters that stand in paths of the catalog, one line each.

    With such a fault there is no catalog in which anything else could be looked up.
    """
    places = [name for name in _PLACES if name in given]
    return [
        fault for name in places for fault in _type_faults(name, given[name], RUN_PARAMETERS[name])
    ]


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
        faults = error.errors(include_url=False)
        return [_said(name, expected, one) for one in faults if one["type"] != _FOLLOWS]
    return []


def _said(name: str, expected: Any, fault: Any) -> str:
    where = ".".join([name, *(str(part) for part in fault["loc"] if not isinstance(part, int))])
    if fault["type"] == "extra_forbidden":
        known = expected.model_fields if isinstance(expected, type(BaseModel)) else ()
        return f"parameter `{where}` is unknown{_hint(str(fault['loc'][-1]), known)}"
    if fault["type"] == "value_error":  # our own words, which tell what was found
        return f"parameter `{where}`: {fault['ctx']['error']}"
    way_out = ""
    if fault["type"] == "string_type" and isinstance(fault["input"], int | float):
        way_out = "; a name that reads as a number wants quotes in YAML, or a folder a ./ before it"
    elif fault["type"] == "string_type" and fault["input"] is None:
        way_out = "; nothing stands behind its name"
    return f"parameter `{where}`: {fault['msg']}, found {fault['input']!r}{way_out}"


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else f" (known: {', '.join(sorted(known))})"


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
