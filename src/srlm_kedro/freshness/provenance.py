"""By which code and which libraries something is made, told without importing any of it.

Code counts by what it does: comments, docstrings and layout are no part of its digest. Other files
beside a module (templates) count by their bytes. A module stands for itself and for all of its
package, and of this one, that it can reach by imports.
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
"""How what is found here is named in a recipe."""
LIBRARIES = (
    *("torch", "transformers", "tokenizers", "trl", "peft", "accelerate", "bitsandbytes"),
    *("lm_eval", "alpaca_eval"),
)
"""The libraries that decide what an engine makes, as they are imported. Their exact versions
count; those of others (pandas, kedro, ...) do not."""

_BROUGHT = {"transformers": ("tokenizers", "accelerate"), "peft": ("bitsandbytes",)}
"""Libraries that others use for us."""
_READS_AGAIN = "READS_AGAIN"
"""A module that says so reads texts that are kept raw. When it changes, nodes without an engine
read them again, and nothing is drawn or judged for it."""
_OURS = __name__.partition(".")[0]
_DIGITS = 16


def made_by(module: str, drawn: bool = False) -> dict[str, str]:
    """Digests of the modules that one reaches, and the versions of the libraries among them.

    Args:
        module: Where a node's function or an engine stands.
        drawn: Whether an engine's texts are what is made: then modules with `READS_AGAIN` count
            for nothing.
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
    """The same of an engine's entry in the catalog, engines within it included.

    An engine that works in another environment (`python`) brings that one's libraries.
    """
    found = made_by(spec["engine"].rpartition(".")[0])
    arguments = {**spec.get("options", {}), **spec.get("resources", {})}
    if python := arguments.get("python"):
        found |= _libraries_beside(Path(python))
    for value in arguments.values():
        if isinstance(value, Mapping) and isinstance(value.get("engine"), str):
            found |= engine_made_by(value)
    return found


def is_provenance(part: str) -> bool:
    """Whether a part of a recipe is code or a library."""
    return part.startswith((CODE, LIBRARY))


def forget() -> None:
    """Reads all again the next time: for whoever changes code while this process runs."""
    for cached in (_made_by, _source, _file, _root, installed, _libraries_beside):
        cached.cache_clear()


@lru_cache(maxsize=64)
def installed(library: str) -> str:
    """The version of a library here; `none` where it is not installed."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


class _Source(NamedTuple):
    digest: str
    modules: frozenset[str]
    """Those that it imports, wherever in its text."""
    libraries: frozenset[str]
    reads_again: bool


@lru_cache(maxsize=1024)
def _source(module: str) -> _Source | None:
    """What one module says; None where it is no file of a project's own (a library, a notebook)."""
    path = _file(module)
    if path is None:
        return None
    tree = ast.parse(path.read_bytes())
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    named = set(_imports(tree, package))
    own = {_OURS, module.partition(".")[0]}
    modules = {each for name in named if (each := _module(name, own))}
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
    """Dotted names that are imported; of `from a import b` it is `a.b`, whatever `b` may be."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _module(name: str, own: set[str]) -> str | None:
    """The module behind a dotted name, which may end in what stands in it; None: not ours."""
    if name.partition(".")[0] not in own:
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
    """The folder of a package, or a module's file without its ending."""
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
    """Takes out texts that stand alone: docstrings, and those of attributes."""
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
    """The versions of libraries in the environment of a Python, by the notes that pip leaves."""
    folders = python.parent.parent.glob("lib/python3*/site-packages/*.dist-info")
    told = [folder.name.removesuffix(".dist-info").partition("-") for folder in folders]
    wanted = {*LIBRARIES, "vllm"}
    return {f"{LIBRARY}{python}: {name}": said for name, _, said in told if name.lower() in wanted}
