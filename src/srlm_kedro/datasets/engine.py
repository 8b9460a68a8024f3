"""Datasets that build an engine from its class name and options, so that `conf/` can swap it."""

import inspect
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.utils import load_obj

from srlm_kedro.datasets.options import check_options
from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.engines.generation.replicas.replicas import Replicas
from srlm_kedro.engines.generation.shards import ShardedEngine
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest
from srlm_kedro.freshness.provenance import engine_arguments, engine_made_by, is_engine_spec
from srlm_kedro.freshness.recipe import is_engine

_PATHS = ("model_path", "task_folder", "ifeval_file")
"""Options that name a folder or a file, whose content is part of the recipe."""
_NESTED = {"engine", "options", "resources"}


class EngineDataset(ReadOnlyDataset[Any]):
    """A generation or training engine, built when it is first loaded and kept for the run.

    An option that is a mapping with `engine` (and `options`, `resources`) is built too, so that a
    referee can have a generation engine of its own. An option `{filepath: ...}` is replaced by the
    text of that file, so that a changed prompt changes the recipe.
    """

    ORIGIN = "an engine comes from conf/"

    def __init__(
        self,
        engine: str,
        options: dict[str, Any] | None = None,
        resources: dict[str, Any] | None = None,
        credentials: dict[str, Any] | None = None,
        shards: dict[str, Any] | None = None,
        replicas: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names the engine.

        Args:
            engine: The class, as `package.module.Class`.
            options: Constructor arguments that can change a result.
            resources: Constructor arguments that steer only speed or memory (batch size).
            credentials: Secrets, by their name in credentials.yml of the run's environment. They
                go to the argument `credentials` of the engine and of nested engines that have one.
            shards: For a generation engine: `folder`, where completions are kept shard by shard
                until a node's outputs are saved, and `completions` per shard.
            replicas: For a generation engine with `shards`: arguments of `Replicas`, by which
                copies of the engine draw the shards on a cluster; None: this process draws.
            metadata: Free notes.
        """
        self._shards, self._replicas = shards, replicas
        self.spec = {"engine": engine, "options": options or {}, "resources": resources or {}}
        self._credentials = credentials
        self._built: Any = None
        self.metadata = metadata

    def load(self) -> Any:
        """The engine.

        Raises:
            DatasetError: An option is unknown or out of bounds, or the engine takes no credentials.
        """
        if self._built is None:
            if self._credentials is not None and not _takes_credentials(self.spec):
                raise InputError(
                    f"{self.spec['engine']} takes no credentials. Take the key `credentials` "
                    "out of the engine's entry in the catalog."
                )
            self._built = _build(self.spec, self._credentials)
            if self._shards is not None:
                self._built = self._sharded(self._built, self._shards)
            elif self._replicas is not None:
                raise InputError(
                    f"{self.spec['engine']}: `replicas` needs `shards`, which keep what they draw. "
                    "Add `shards` to the engine's entry in the catalog."
                )
        return self._built

    def _sharded(self, engine: Any, shards: dict[str, Any]) -> ShardedEngine:
        """The engine, or replicas of it, drawing shard by shard."""
        recipe = {**self.fingerprint(), **engine_made_by(self.spec)}
        made = {"engine": engine, "recipe": recipe, "replicas": None}
        if self._replicas is not None:
            build = partial(_build, self.spec, self._credentials)
            at_once = getattr(engine, "SHARDS_AT_ONCE", 1)
            places = {"build": build, "folder": shards.get("folder"), "at_once": at_once}
            made["replicas"] = _made("replicas", Replicas, self._replicas, places)
        return _made("shards", ShardedEngine, shards, made)

    def free(self) -> None:
        """Frees what the engine holds between calls, if it is built."""
        if hasattr(self._built, "release"):
            self._built.release()

    def forget(self) -> None:
        """Deletes what the engine keeps of unfinished work; call it once all outputs are saved."""
        if hasattr(self._built, "forget"):
            self._built.forget()

    def fingerprint(self) -> dict[str, Any]:
        """The part of the engine's entry that can change a result; its code counts separately."""
        return _recipe(self.spec)

    def _describe(self) -> dict[str, Any]:
        return self.spec


def free_engines(catalog: CatalogProtocol, names: Iterable[str]) -> None:
    """Frees what the engines among the named datasets hold."""
    for name in list(names):
        if is_engine(catalog, name):
            catalog.get(name).free()


def _build(spec: Mapping[str, Any], credentials: dict[str, Any] | None) -> Any:
    if unknown := sorted(set(spec) - _NESTED):
        raise InputError(
            f"{spec['engine']}: an engine within an engine has engine, options and resources, not "
            f"{', '.join(unknown)}. Credentials belong at the top of the entry in the catalog."
        )
    factory = load_obj(spec["engine"])
    arguments = engine_arguments(spec)
    _refuse_unknown(spec["engine"], factory, arguments)
    for name, value in arguments.items():
        if is_engine_spec(value):
            arguments[name] = _build(value, credentials)
        elif _is_text_file(value):
            arguments[name] = _read_text(value)
    arguments = check_options(spec["engine"], factory, arguments)
    if credentials is not None and "credentials" in inspect.signature(factory).parameters:
        arguments["credentials"] = credentials
    return factory(**arguments)


def _made(name: str, factory: Any, options: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    """What a part of an entry makes of its options, and of arguments that come from elsewhere."""
    _refuse_unknown(name, factory, options, hidden=others)
    return factory(**others, **check_options(name, factory, options))


def _is_text_file(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"filepath"}


def _read_text(value: Mapping[str, Any]) -> str:
    return Path(value["filepath"]).read_text("utf-8")


def _recipe(spec: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: _recipe_of(name, value) for name, value in spec.get("options", {}).items()}
    return {"engine": spec["engine"], "options": options}


def _recipe_of(name: str, value: Any) -> Any:
    if name in _PATHS and value and Path(value).exists():
        return {"path": value, "content": content_digest(Path(value))}
    if is_engine_spec(value):
        return _recipe(value)
    return _read_text(value) if _is_text_file(value) else value


def _takes_credentials(spec: Mapping[str, Any]) -> bool:
    nested = filter(is_engine_spec, engine_arguments(spec).values())
    return (
        any(map(_takes_credentials, nested))
        or "credentials" in inspect.signature(load_obj(spec["engine"])).parameters
    )


def _refuse_unknown(
    name: str,
    factory: Any,
    arguments: Mapping[str, Any],
    hidden: Collection[str] = ("credentials",),
) -> None:
    known = [each for each in inspect.signature(factory).parameters if each not in hidden]
    if unknown := sorted(set(arguments) - set(known)):
        raise InputError(
            f"{name}: no option {', '.join(unknown)}. "
            f"Known options: {', '.join(known)}. Change the engine's entry in the catalog."
        )
