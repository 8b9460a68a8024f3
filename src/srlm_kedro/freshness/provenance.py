"""Which code and which libraries an output is made by, found without importing any of them.

The digest of code depends on what the code does, and not on comments, docstrings or layout. Other
files beside a module (templates) count by their bytes. A module counts together with every module
of its own package, and of this package, that it reaches by imports.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

CODE, LIBRARY = "code of ", "library "
"""What the names of modules and libraries begin with in a recipe."""
LIBRARIES = (
    *("torch", "transformers", "tokenizers", "trl", "peft", "accelerate", "bitsandbytes"),
    *("lm_eval", "alpaca_eval", "gguf"),
)
"""The libraries that decide what an engine makes, by their import names. Their exact versions
count; the versions of others (pandas, kedro, ...) do not."""

_BROUGHT = {"transformers": ("tokenizers", "accelerate"), "peft": ("bitsandbytes",)}
"""Libraries that the named libraries import for us."""
_READS_AGAIN = "READS_AGAIN"
"""The name that a module sets if it reads texts that are kept raw. When such a module changes,
nodes without an engine read the texts again, and no engine draws or judges anything again."""
_OURS = __name__.partition(".")[0]
_DIGITS = 16


def made_by(module: str, drawn: bool = False) -> dict[str, str]:
    """Digests of the modules that a module reaches, and the versions of the libraries among them.

    Args:
        module: The module of a node's function or of an engine.
        drawn: Whether an engine makes the output: then modules with `READS_AGAIN` do not count.
    """
    return dict(_made_by(module, drawn))


@lru_cache(maxsize=1024)
def _made_by(module: str, drawn: bool) -> Mapping[str, str]:
    found: dict[str, str] = {}
    waiting, seen = [module], {module}
    while waiting:
        name = waiting.pop()
        source = _source(name)
        if source is None or (drawn and source.reads_again):
            continue
        found[f"{CODE}{name}"] = source.digest
        found |= {f"{LIBRARY}{each}": installed(each) for each in source.libraries}
        waiting += source.modules - seen
        seen |= source.modules
    return found


def engine_made_by(spec: Mapping[str, Any]) -> dict[str, str]:
    """The same for an engine's entry in the catalog and for the engines nested in it.

    If the engine works in another environment (`python`), that environment's libraries count too.
    """
    found = made_by(spec["engine"].rpartition(".")[0])
    arguments = engine_arguments(spec)
    if python := arguments.get("python"):
        found |= _libraries_beside(Path(python))
    for value in filter(is_engine_spec, arguments.values()):
        found |= engine_made_by(value)
    return found


def engine_arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor arguments of an engine: its options and its resources."""
    return {**spec.get("options", {}), **spec.get("resources", {})}


def is_engine_spec(value: Any) -> bool:
    """Whether an argument is a nested engine: a mapping with the name of a class as `engine`."""
    return isinstance(value, Mapping) and isinstance(value.get("engine"), str)


def is_provenance(part: str) -> bool:
    """Whether a part of a recipe is code or a library."""
    return part.startswith((CODE, LIBRARY))


def clear_caches() -> None:
    """Makes the next call read every file again, for code that changes while this process runs."""
    for cached in (_made_by, _source, _file, _root, installed, _libraries_beside):
        cached.cache_clear()


@lru_cache(maxsize=64)
def installed(library: str) -> str:
    """The version of a library in this environment; `none` if it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


class _Source(NamedTuple):
    digest: str
    modules: frozenset[str]
    """The modules that it imports, at the top or within functions."""
    libraries: frozenset[str]
    reads_again: bool


@lru_cache(maxsize=1024)
def _source(module: str) -> _Source | None:
    """What one module's file says; None for a library or a notebook, which have no file of ours."""
    path = _file(module)
    if path is None:
        return None
    tree = ast.parse(path.read_bytes())
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    named = set(_imports(tree, package))
    ours = {_OURS, module.partition(".")[0]}
    modules = {each for name in named if (each := _module(name, ours))}
    tops = {name.partition(".")[0] for name in named}
    tops |= {each for name in tops for each in _BROUGHT.get(name, ())}
    libraries = tops.intersection(LIBRARIES)
    reads_again = any(
        isinstance(one, ast.Assign) and _READS_AGAIN in map(ast.unparse, one.targets)
        for one in tree.body
    )
    _strip(tree)
    digest = hashlib.sha256(ast.dump(tree).encode() + _beside(path)).hexdigest()[:_DIGITS]
    return _Source(digest, frozenset(modules - {module}), frozenset(libraries), reads_again)


def _beside(path: Path) -> bytes:
    """The bytes of other files in a module's folder that belong to its package."""
    if not (path.parent / "__init__.py").exists():
        return b""
    files = sorted(one for one in path.parent.iterdir() if _is_template(one))
    return b"".join(one.name.encode() + one.read_bytes() for one in files)


def _is_template(file: Path) -> bool:
    return file.is_file() and file.suffix != ".py" and not file.name.startswith(".")


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """The dotted names that are imported; `from a import b` gives `a.b`, whatever `b` is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _module(name: str, ours: set[str]) -> str | None:
    """The module of a dotted name, which may end in a name within the module; None: not ours."""
    if name.partition(".")[0] not in ours:
        return None
    return name if _file(name) else name.rpartition(".")[0]


@lru_cache(maxsize=1024)
def _file(module: str) -> Path | None:
    top, _, rest = module.partition(".")
    root = _root(top)
    if root is None:
        return None
    path = root.joinpath(*rest.split(".")) if rest else root
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


@lru_cache(maxsize=64)
def _root(package: str) -> Path | None:
    """The folder of a package, or the path of a single module without its suffix."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin is None:  # a package without __init__.py
        return next(map(Path, spec.submodule_search_locations or ()), None)
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin.with_suffix("")


def _strip(tree: ast.Module) -> None:
    """Removes bare strings: docstrings, and the texts beneath attributes."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@lru_cache(maxsize=8)
def _libraries_beside(python: Path) -> dict[str, str]:
    """The versions of libraries in the environment of a Python, read from its dist-info folders."""
    folders = python.parent.parent.glob("lib/python3*/site-packages/*.dist-info")
    installed_there = [folder.name.removesuffix(".dist-info").partition("-") for folder in folders]
    wanted = {*LIBRARIES, "vllm"}
    return {
        f"{LIBRARY}{python}: {name}": found
        for name, _, found in installed_there
        if name.lower() in wanted
    }
