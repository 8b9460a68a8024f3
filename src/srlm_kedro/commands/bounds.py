"""Every number of the configuration with its bounds."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.utils import load_obj
from pydantic import TypeAdapter

from srlm_kedro.datasets.options import checked_types
from srlm_kedro.engines.generation.replicas.replicas import Replicas
from srlm_kedro.engines.generation.shards import ShardedEngine

_ENGINE = re.compile(r"engine:\s*(srlm_kedro\.[\w.]+)")
_LOW = {"minimum": "{} <=", "exclusiveMinimum": "{} <"}
_HIGH = {"maximum": "<= {}", "exclusiveMaximum": "< {}"}


@dataclass(frozen=True)
class Number:
    """A number that somebody can set."""

    name: str
    """`dpo.beta[]` is each value of a list, `alignment.limits.*.stop` one under any key."""
    whole: bool
    low: str
    """`0 <=`, `0 <`, or nothing."""
    high: str

    @property
    def bounds(self) -> str:
        """As a person writes them: `0 < x <= 1`."""
        return " ".join(filter(None, [self.low, "x", self.high]))


def numbers_of(name: str, kind: Any) -> list[Number]:
    """The numbers that a type holds, at any depth."""
    schema = TypeAdapter(kind).json_schema()
    return list(dict.fromkeys(_walked(name, schema, schema.get("$defs", {}))))


def parameter_numbers(types: Mapping[str, Any]) -> dict[str, list[Number]]:
    """Those of the parameters, by group; `types` as `preflight.parameter_types` gives them."""
    return {name: numbers_of(name, types[name]) for name in sorted(types)}


def engine_numbers(conf: Path) -> dict[str, list[Number]]:
    """Those of the options of engines that any environment of a folder names, by engine."""
    return {name: _options(factory) for name, factory in engine_factories(conf).items()}


def engine_factories(conf: Path) -> dict[str, Any]:
    """What makes the engines that any environment of a folder names, by engine, and what draws
    by shards and replicas.

    Args:
        conf: The folder of the environments, whose catalogs name the engines.
    """
    texts = [file.read_text("utf-8") for file in sorted(conf.glob("*/catalog*.yml"))]
    names = sorted({name for text in texts for name in _ENGINE.findall(text)})
    return {name: load_obj(name) for name in names} | {
        "shards": ShardedEngine,
        "replicas": Replicas,
    }


def limits(schema: Mapping[str, Any]) -> str:
    """The bounds of a number, by its JSON schema, as a person writes them: `0 < x <= 1`."""
    return " ".join(filter(None, [_limit(schema, _LOW), "x", _limit(schema, _HIGH)]))


def _options(factory: Any) -> list[Number]:
    return [
        number for name, hint in checked_types(factory).items() for number in numbers_of(name, hint)
    ]


def _walked(
    name: str, schema: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> Iterator[Number]:
    if "$ref" in schema:
        yield from _walked(name, known[schema["$ref"].rpartition("/")[2]], known)
    for choice in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _walked(name, choice, known)
    for key, inner in schema.get("properties", {}).items():
        yield from _walked(f"{name}.{key}", inner, known)
    for key, inner in (("*", schema.get("additionalProperties")), ("[]", schema.get("items"))):
        if isinstance(inner, Mapping):
            yield from _walked(name + (key if key == "[]" else f".{key}"), inner, known)
    for place, inner in enumerate(schema.get("prefixItems", ())):
        yield from _walked(f"{name}[{place}]", inner, known)
    if schema.get("type") in ("integer", "number"):
        whole = schema["type"] == "integer"
        yield Number(name, whole, _limit(schema, _LOW), _limit(schema, _HIGH))


def _limit(schema: Mapping[str, Any], forms: Mapping[str, str]) -> str:
    found = {key: f"{schema[key]:,}".removesuffix(".0") for key in forms if key in schema}
    return "".join(forms[key].format(number) for key, number in found.items())
