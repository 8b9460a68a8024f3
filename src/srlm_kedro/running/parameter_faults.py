"""Faults of parameters: unknown, mistyped, out of bounds, or read by nothing in this run."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from kedro.pipeline import Pipeline
from kedro.validation.type_extractor import TypeExtractor
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from srlm_kedro.display.commands import run_command
from srlm_kedro.params import MAX_COUNT, MAX_SEED
from srlm_kedro.pipelines import published
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.self_rewarding import chain, made_seed_data, seed_tables, self_rewarding

RUN_PARAMETERS: dict[str, Any] = {
    "seed": Annotated[
        int,
        Field(strict=True, ge=0, le=MAX_SEED, description="The seed of everything that is drawn."),
    ],
    "iteration": Annotated[
        int,
        Field(
            strict=True,
            ge=1,
            le=1000,
            description="The t of the model M_t that `--pipeline=iteration` makes. Unless it is "
            "given, the newest model is taken one step further.",
        ),
    ],
    "keep_models": Annotated[
        Literal["all"] | Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)],
        Field(
            description="How many of the newest models keep their weights. M0, the SFT baseline "
            "and M1 keep theirs always; tables and metrics stay."
        ),
    ],
    "data": Annotated[
        str, Field(min_length=1, description="The folder that a run reads and writes.")
    ],
    "model": Annotated[
        str,
        Field(
            min_length=1,
            description="M0, unless `loop.world` is `microworld`: a folder, a GGUF file, "
            "`hub:owner/name@revision`, or `package:NAME/PATH` for what an installed package has.",
        ),
    ],
    "oasst_file": Annotated[
        str,
        Field(min_length=1, description="The OASST export, where `loop.seed_data` is `oasst`."),
    ],
    "ifeval_file": Annotated[
        str,
        Field(
            min_length=1,
            description="IFEval's prompts (`input_data.jsonl`), where the catalog names it, as in "
            "`conf/smollm`.",
        ),
    ],
    "referee": Annotated[
        str,
        Field(
            min_length=1,
            description="The folder of the model that compares answers at evaluation, where "
            "`loop.world` is `given`.",
        ),
    ],
}
"""Parameters that belong to no group: the seed of everything, how many models keep their weights,
which model to make, the folder for the run's files, and where environments with real data find M0,
an OASST export, IFEval's prompts and a referee. Most of them come from the command line."""

_REAL = "An environment with real data does, such as `--env=one_gpu`, or `--env=one_gpu+cluster`."
READ_BY = {
    "model": _REAL,
    "referee": _REAL,
    "oasst_file": _REAL,
    "ifeval_file": "`--env=smollm` does.",
    "iteration": "`--pipeline=iteration` does.",
}
"""What would read a parameter that a run does not read."""
_PATHS = ("data", "model", "oasst_file", "ifeval_file", "referee")
"""Those of them that are parts of paths in the catalog."""
_CONSEQUENCE = "default_factory_not_called"
"""Pydantic's error for a default that depends on another value; that value has an error too."""


def parameter_types(pipelines: Mapping[str, Pipeline]) -> dict[str, Any]:
    """Every parameter by name, with its type from the signatures of the nodes.

    Parameters of stages that a loop leaves out are known too: they remain in the files of `conf/`.
    """
    whole = LoopParams()
    every = {"every stage": self_rewarding(whole)}
    every["every table"] = seed_tables(LoopParams(seed_data="oasst"))
    every["every seed"] = made_seed_data(LoopParams(world="verifiable"))
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


def path_faults(given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the parameters that are parts of paths in the catalog, one line each.

    With such a fault the catalog cannot be made, and nothing else can be checked.
    """
    paths = [name for name in _PATHS if name in given]
    return [
        fault for name in paths for fault in _type_faults(name, given[name], RUN_PARAMETERS[name])
    ]


def unused_faults(given: Mapping[str, Any], loop: LoopParams, names: Iterable[str]) -> list[str]:
    """Parameters that nothing would read, or that contradict each other, one line each."""
    unused = {
        "model": loop.world == "microworld",
        "referee": loop.world != "given",
        "oasst_file": loop.seed_data != "oasst",
        "ifeval_file": "ifeval_prompts" not in loop.eval_sets and "benchmarks" not in names,
        "iteration": "iteration" not in names,
    }
    faults = [
        f"parameter `{name}`: nothing reads it in this run. {READ_BY[name]}"
        for name, is_unused in unused.items()
        if is_unused and name in given
    ]
    if not loop.pretrain and "m0" not in names:
        faults += [
            f"parameter `{name}`: nothing reads it in this run, because M0 comes with the project; "
            "set `loop.pretrain=true`"
            for name in _pretraining_settings(given, loop)
        ]
    world = given.get("microworld")
    if isinstance(world, Mapping) and world.get("seed_data") and "seed_data" not in names:
        faults.append(
            "parameter `microworld.seed_data`: nothing reads it in this run, because the seed data "
            f"are files; `{run_command('seed_data')}` makes them again"
        )
    if loop.soft_labels and given.get("keep_models") == 1:
        faults.append("parameter `keep_models`: `loop.soft_labels` needs the newest two models")
    if loop.soft_labels:
        clashing = [n for n in ("label_smoothing", "length_normalised") if _dpo(given).get(n)]
        faults += [f"parameter `dpo.{n}` does not go with `loop.soft_labels`" for n in clashing]
    return faults


def _pretraining_settings(given: Mapping[str, Any], loop: LoopParams) -> list[str]:
    """The parameters that only pretraining reads, if they are set."""
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
        return [_message(name, expected, one) for one in faults if one["type"] != _CONSEQUENCE]
    return []


def _message(name: str, expected: Any, fault: Any) -> str:
    where = ".".join([name, *(str(part) for part in fault["loc"] if not isinstance(part, int))])
    if fault["type"] == "extra_forbidden":
        known = expected.model_fields if isinstance(expected, type(BaseModel)) else ()
        return f"parameter `{where}` is unknown{_hint(str(fault['loc'][-1]), known)}"
    if fault["type"] == "value_error":  # our own message, which says what was found
        return f"parameter `{where}`: {fault['ctx']['error']}"
    way_out = ""
    if fault["type"] == "string_type" and isinstance(fault["input"], int | float):
        way_out = "; put a name that reads as a number in quotes, or write ./ before a folder"
    elif fault["type"] == "string_type" and fault["input"] is None:
        way_out = "; write its value after its name"
    return f"parameter `{where}`: {fault['msg']}, found {fault['input']!r}{way_out}"


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else f" (known: {', '.join(sorted(known))})"
