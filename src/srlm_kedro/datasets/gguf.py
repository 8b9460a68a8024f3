"""A model in a GGUF file, turned once into the Hugging Face folder that engines load."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Literal

from filelock import FileLock
from kedro.utils import load_obj

from srlm_kedro.datasets.model_folder import refuse_unless_checkpoint
from srlm_kedro.datasets.packages import PREFIX, origin_of, packaged_path
from srlm_kedro.engines.gguf.header import Header, read_header
from srlm_kedro.errors import InputError, summary
from srlm_kedro.freshness.digests import file_digest
from srlm_kedro.freshness.manifest import (
    CARD,
    discard_manifest,
    output_fault,
    read_manifest,
    write_manifest,
)
from srlm_kedro.freshness.provenance import made_by
from srlm_kedro.records import Checkpoint

CONVERTER = "srlm_kedro.engines.gguf.convert"
"""The module that makes the folder: its code and its libraries count for what is made of it."""
Dtype = Literal["float32", "bfloat16"]
_NAMED = 16
"""Digits of the file's sum in the folder's name."""
_STATED = ("name", "organization", "license", "license.link", "source.url", "repo_url", "url")
"""The entries `general.*` of the file that its card repeats."""

_log = logging.getLogger(__name__)


class GgufModel:
    """The folder made from a GGUF file, below `folder`, in which it is named by the file's sum.

    It is made when it is first loaded. It is made again if the file, the converting code or its
    libraries change, or if its bytes do. A folder that a kill left half-written does not count.
    """

    def __init__(self, model: str, name: str, folder: str, dtype: Dtype = "float32"):
        """Names the file.

        Args:
            model: The file, or `package:NAME/FILE`.
            name: The model's place in the chain.
            folder: Where folders made from GGUF files are kept.
            dtype: Precision of the weights: `bfloat16` takes half the disk and rounds them.
        """
        self._model, self._name, self._folder, self._dtype = model, name, Path(folder), dtype

    def load(self) -> Checkpoint:
        """The handle of the folder; other processes wait while one makes it.

        Raises:
            InputError: There is no such file, or no model can be made from it.
        """
        file = gguf_file(self._model)
        recipe = {**self.fingerprint(), **made_by(CONVERTER)}
        target = self._folder / f"{recipe['gguf'][:_NAMED]}-{self._dtype}"
        if not _is_made(target, recipe):
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / f".{target.name}.lock"):
                if not _is_made(target, recipe):
                    self._make(file, target, recipe)
        return Checkpoint(target, self._name)

    def check(self) -> None:
        """Reads the file's header; nothing is made.

        Raises:
            InputError: There is no such file, or no model can be made from it.
        """
        sound_header(gguf_file(self._model))

    def fingerprint(self) -> dict[str, str]:
        """The file's content and the precision, not where the file is."""
        return {"gguf": file_digest(gguf_file(self._model)), "dtype": self._dtype}

    def _make(self, file: Path, target: Path, recipe: dict[str, str]) -> None:
        header = sound_header(file)
        origin = self._origin(file, recipe["gguf"])
        _log.info("%s: %s is dequantised into %s, once", self._name, self._model, target)
        discard_manifest(target)
        scratch = target.with_name(f".{target.name}.new")
        shutil.rmtree(scratch, ignore_errors=True)  # left behind by a kill
        try:
            kinds = load_obj(f"{CONVERTER}.convert")(file, header, scratch, self._dtype)
            refuse_unless_checkpoint(scratch)
            facts = {**_stated(header), "tensors": kinds, **origin}
            (scratch / CARD).write_text(_card(file, recipe, facts), "utf-8")
            if target.exists():
                shutil.rmtree(target)
            os.replace(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        write_manifest(target, {"parts": recipe})

    def _origin(self, file: Path, digest: str) -> dict[str, str]:
        """What the package says about its file; nothing for a file of the user's own."""
        if not self._model.startswith(PREFIX):
            return {}
        origin = origin_of(self._model, file)
        if origin is None:
            return {"package": "without metadata"}
        if origin.sha256 and origin.sha256 != digest:
            raise InputError(
                f"{file}: it must be the file that {origin.name} {origin.version} installed "
                f"(SHA-256 {origin.sha256}), but its SHA-256 is {digest}. Install the package "
                "again, or name the file itself."
            )
        return {
            "package": f"{origin.name} {origin.version}",
            "license of the package": origin.licence or "not stated",
            "SHA-256 in the package's list": origin.sha256 or "not stated",
        }


def gguf_file(model: str) -> Path:
    """The GGUF file that `model` names.

    Raises:
        InputError: There is no such file.
    """
    file = packaged_path(model) if model.startswith(PREFIX) else Path(model)
    if not file.is_file():
        raise InputError(
            f"{model}: the model must be a GGUF file, and there is no such file. Correct `model`, "
            "or put the file there."
        )
    return file


def sound_header(file: Path) -> Header:
    """The file's header.

    Raises:
        InputError: The file is no GGUF file, is damaged, or holds no whole model.
    """
    try:
        header = read_header(file)
    except ValueError as error:
        raise InputError(
            f"{file}: the model must be a folder or a whole GGUF file, but the file {error}. "
            "Name another one, or get it again."
        ) from error
    if faults := header.faults():
        heading = f"{file}: no model can be made from this GGUF file; take another, or a folder:"
        raise InputError(summary(heading, faults))
    return header


def _is_made(target: Path, recipe: dict[str, str]) -> bool:
    manifest = read_manifest(target)
    return bool(manifest) and manifest["parts"] == recipe and output_fault(target) is None


def _stated(header: Header) -> dict[str, str]:
    fields = {name: header.fields.get(f"general.{name}") for name in _STATED}
    stated = {name: str(value) for name, value in fields.items() if value}
    file_type = str(header.fields.get("general.file_type", "not stated"))
    return {"license": "not stated", **stated, "file_type": file_type}


def _card(file: Path, recipe: dict[str, str], facts: dict[str, str]) -> str:
    """The folder's README.md. What the file says is quoted: it is data."""
    libraries = [f"{name} {value}" for name, value in recipe.items() if name.startswith("library")]
    rows = {"file": file.name, "SHA-256": recipe["gguf"], **facts}
    lines = [f"| {name} | {_quoted(value)} |" for name, value in rows.items()]
    return "\n".join(
        [
            "# A model from a GGUF file",
            "",
            "`srlm_kedro` made this folder from the file below. It can be deleted: a run that "
            "needs it makes it again.",
            "",
            "| | |",
            "|---|---|",
            *lines,
            "",
            "Each tensor was dequantised to float32 by its type's own rule"
            + ("." if recipe["dtype"] == "float32" else f", and rounded to {recipe['dtype']}.")
            + " Quantisation lost precision when the file was made, and dequantising does not bring"
            " it back.",
            f"Made with {', '.join(libraries)}.",
            "",
        ]
    )


def _quoted(value: str) -> str:
    """A text as code in a table's cell."""
    text = json.dumps(value).replace("`", "\\u0060").replace("|", "\\u007c")
    return f"`{text}`"
