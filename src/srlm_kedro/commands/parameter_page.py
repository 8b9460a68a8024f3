"""The reference of all parameters as a page in Markdown: `kedro parameters`.

Everything on it is read: names, defaults and docstrings from the classes of parameters and the
engines' arguments, the microworld's values from `conf/base`, and the paper's values from the
docstrings (`paper: 0.1`).
"""

import inspect
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from pydantic import BaseModel, PydanticUserError, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from srlm_kedro.commands.bounds import engine_factories, limits
from srlm_kedro.engines.generation.replicas.replicas import Replicas
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.params import is_schedule
from srlm_kedro.pipeline_registry import register_pipelines
from srlm_kedro.running.parameter_faults import parameter_types

_HEAD = """# Parameters

`kedro parameters` prints this page, and a test keeps it up to date.

Set a parameter in `parameters.yml` of an environment (`conf/base`, `conf/local`, `conf/NAME`) or on
the command line: `kedro run --params=dpo.beta=2`. Unknown names, numbers out of bounds, NaN,
infinity, and true or false in the place of a number are refused before any work.

| column | what it says |
|---|---|
| default | the value of the class, used where no file sets one |
| conf/base | the value that the microworld sets; empty: it uses the default |
| paper | the value in arXiv 2401.10020; empty: the paper has nothing of the kind |
| values | the bounds of a number (`x`), or the words to choose from |

A parameter that takes *one value, or one for each iteration* may be a list: the first value makes
M2, the next one M3, and the last one is repeated. `*` stands for any key.
"""
_ENGINES = """
## Engines

An engine is an entry of `catalog.yml`. Its arguments are set under `options`, or under `resources`
where they change speed or memory and no result.
"""
_GIVEN = {ShardedEngine: {"engine", "recipe", "replicas"}, Replicas: {"build", "folder", "at_once"}}
"""Arguments that no catalog entry sets."""
_PAPER = re.compile(r"[Pp]aper: (.+?)(?=[;)]| \(|\.(?:\s|$)|$)")
_AS_PAPER = re.compile(r"\(paper\)|as in the paper")
_NOT_STATED = re.compile(r"paper (does not state|states no)")
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_BELOW = "a group, see below"
_SCRIPTED = ".Scripted"
"""Engines without a model, for tests."""
_LIST = "a list of: "
_NOTHING = object()


@dataclass(frozen=True)
class Parameter:
    """One row of the page."""

    name: str
    """`dpo.beta`, `alignment.limits.*.stop`."""
    meaning: str
    default: Any
    base: Any
    """The value in `conf/base`, or `_NOTHING`."""
    values: str
    scheduled: bool = False
    """Whether one value may stand for a list of one."""

    @property
    def paper(self) -> str:
        """The paper's value, as the docstring states it."""
        if stated := _PAPER.search(self.meaning):
            return stated[1]
        if _AS_PAPER.search(self.meaning):
            return self._shown(self.default)
        return "not stated" if _NOT_STATED.search(self.meaning) else ""

    def row(self, papers: bool = True) -> str:
        """Its line in a table."""
        cells = [f"`{self.name}`<br>{self.meaning}" if self.meaning else f"`{self.name}`"]
        cells += [self._shown(self.default)]
        cells += [self._shown(self.base), self.paper] if papers else []
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, self.values)) + " |"

    def _shown(self, value: Any) -> str:
        single = self.scheduled and isinstance(value, list | tuple) and len(value) == 1
        return _shown(value[0] if single else value)


@dataclass(frozen=True)
class Group:
    """The parameters of a stage, or of none."""

    name: str
    about: str
    parameters: Sequence[Parameter]


def parameter_page(conf: Path) -> str:
    """The whole page: the parameters by group, then the arguments of the engines.

    Args:
        conf: The folder of the environments; `base` holds the microworld's values, and the
            catalogs name the engines.
    """
    sections = [_section(group) for group in parameter_groups(conf) if group.parameters]
    parts = [_HEAD, *chain.from_iterable(sections), _ENGINES]
    for name, factory in engine_factories(conf).items():
        if _SCRIPTED in name:
            continue
        if rows := [one.row(papers=False) for one in engine_arguments(factory)]:
            parts += [f"### {name.rpartition('.')[2]}", "", f"`{name}`", ""]
            parts += [*_table(["argument", "default", "values"], rows), ""]
    return "\n".join(parts).rstrip() + "\n"


def parameter_groups(conf: Path) -> list[Group]:
    """Every parameter of every stage, by group; those of no group come first, as `run`."""
    types = parameter_types(register_pipelines())
    base = yaml.safe_load((conf / "base/parameters.yml").read_text("utf-8"))
    values = {name: base.get(name, _NOTHING) for name in types}
    kinds = {name: kind for name, kind in sorted(types.items()) if _is_model(kind)}
    plain = [_plain(name, types[name], values[name]) for name in sorted({*types} - {*kinds})]
    return [
        Group("run", "Plain parameters, most of them for the command line.", plain),
        *(
            Group(name, _joined(kind.__doc__), list(_fields(name, kind, kind(), values[name])))
            for name, kind in kinds.items()
        ),
    ]


def engine_arguments(factory: Any) -> list[Parameter]:
    """The arguments of an engine, with their defaults, bounds and docstring."""
    made = factory.__init__ if inspect.isclass(factory) else factory
    told = {name: _joined(text) for name, text in _ARGUMENT.findall(inspect.getdoc(made) or "")}
    hints = get_type_hints(made, include_extras=True)
    return [
        Parameter(name, told.get(name, ""), one.default, _NOTHING, _values(hints[name]))
        for name, one in inspect.signature(made).parameters.items()
        if name in hints and name not in _GIVEN.get(factory, ())
    ]


def _section(group: Group) -> list[str]:
    heads = ["parameter", "default", "conf/base", "paper", "values"]
    rows = [one.row() for one in group.parameters]
    return [f"## {group.name}", "", group.about, "", *_table(heads, rows), ""]


def _table(heads: Sequence[str], rows: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *rows]


def _plain(name: str, kind: Any, value: Any) -> Parameter:
    told = TypeAdapter(kind).json_schema().get("description", "")
    return Parameter(name, told, _NOTHING, value, _values(kind))


def _fields(name: str, model: type[BaseModel], made: BaseModel, base: Any) -> Iterator[Parameter]:
    """Those of a class, at any depth; `made` holds its defaults.

    A group tells what its class says, or what its field says if other fields share the class.
    """
    kinds = Counter(_inner(field.annotation) for field in model.model_fields.values())
    for key, field in model.model_fields.items():
        inner, place = _inner(field.annotation), f"{name}.{key}"
        value = base.get(key, _NOTHING) if isinstance(base, Mapping) else _NOTHING
        default = getattr(made, key, _NOTHING)
        told = _joined(field.description)
        if isinstance(default, BaseModel):
            about = told if kinds[inner] > 1 else _joined(inner.__doc__) or told
            yield Parameter(place, about, _NOTHING, _NOTHING, _BELOW)
            yield from _fields(place, inner, default, value)
            continue
        yield Parameter(place, told, default, value, _told(field), is_schedule(field))
        if inner is not None:
            below = f"{place}.*" if isinstance(default, Mapping) else place
            yield from _fields(below, inner, inner.model_construct(), value)


def _inner(annotation: Any) -> type[BaseModel] | None:
    """The class of parameters that a type holds, if any."""
    if _is_model(annotation):
        return annotation
    return next(filter(None, map(_inner, get_args(annotation))), None)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _told(field: FieldInfo) -> str:
    values = _values(field.rebuild_annotation())
    if is_schedule(field):
        return f"{values.removeprefix(_LIST)}; one value, or one for each iteration"
    return values


def _values(kind: Any) -> str:
    """What a type takes, in words."""
    try:
        schema = TypeAdapter(kind).json_schema(schema_generator=_PlainNumbers)
    except PydanticUserError:  # made by code: an engine within an engine
        return ""
    return _said(schema, schema.get("$defs", {}))


class _PlainNumbers(GenerateJsonSchema):
    """Has a Decimal be a number; pydantic's own schema also takes its digits as text."""

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        """As for any number."""
        return self.float_schema(schema)


def _said(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    said = partial(_said, known=known)
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(filter(None, map(said, choices))))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return _BELOW
    match schema.get("type"):
        case "integer" | "number" as kind:
            return f"{limits(schema)}{', whole' if kind == 'integer' else ''}"
        case "array" if "prefixItems" in schema:
            return "[" + ", ".join(map(said, schema["prefixItems"])) + "]"
        case "array":
            return f"{_LIST}{said(schema.get('items', {}))}"
        case "object":
            return "keys and values"
        case "boolean":
            return "`true`, `false`"
        case "null":
            return "`null`"
        case "string":
            return "text"
    return ""


def _joined(text: str | None) -> str:
    return " ".join((text or "").split())


def _shown(value: Any) -> str:
    if value is _NOTHING or value is inspect.Parameter.empty:
        return ""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    plain = TypeAdapter(Any).dump_python(value, mode="json")
    return f"`{plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)}`"
