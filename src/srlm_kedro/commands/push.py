"""Sends a model and its pairs to a hub; only the command `kedro push` does so, never a run."""

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from kedro.io import CatalogProtocol

from srlm_kedro.datasets.model_folder import is_scripted, refuse_unless_checkpoint
from srlm_kedro.display.commands import run_command
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import CARD, SUFFIX, content_digest, read_manifest
from srlm_kedro.freshness.recipe import output_path

_LEFT_OUT = (f"*{SUFFIX}", ".*")
"""Manifests of this project, and files that are only partly written."""


@dataclass(frozen=True)
class Upload:
    """The files for one repository of a hub."""

    repo: str
    """`owner/name`."""
    kind: str
    """`model` or `dataset`."""
    folder: Path
    files: tuple[str, ...]
    """Paths relative to the folder."""

    def listing(self) -> str:
        """The repository, and each file with its size in bytes."""
        sizes = {name: (self.folder / name).stat().st_size for name in self.files}
        lines = [f"  {size:>14,}  {name}" for name, size in sizes.items()]
        total = f"{sum(sizes.values()):,} bytes"
        return "\n".join([f"{self.kind} {self.repo}, {total} of {self.folder}:", *lines])


def open_catalog(project: Path, env: str | None, params: dict[str, Any]) -> CatalogProtocol:
    """The project's catalog without a session: no hook runs, so no tracking server is called."""
    from kedro.framework.context import KedroContext
    from kedro.framework.hooks.manager import _create_hook_manager
    from kedro.framework.project import PACKAGE_NAME, settings

    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(project / settings.CONF_SOURCE),
        env=env,
        runtime_params=params,
        **settings.CONFIG_LOADER_ARGS,
    )
    context = KedroContext(
        project, loader, env, PACKAGE_NAME, _create_hook_manager(), runtime_params=params
    )
    context._pipelines_to_validate = []  # only the paths of files are needed
    return context.catalog


def pack(catalog: CatalogProtocol, model: str, repo: str, pairs: bool) -> list[Upload]:
    """The model's folder, and with `pairs` its pairs as a data set `<repo>-pairs`.

    Raises:
        InputError: A table or model is missing, incomplete, or differs from its manifest; or the
            model is an adapter or a scripted one, which nobody else could load.
    """
    folder = _verified_path(catalog, f"{model}.model")
    refuse_unless_checkpoint(folder)
    _refuse_scripted(folder)
    _refuse_adapter(folder)
    uploads = [Upload(repo, "model", folder, _files(folder))]
    if pairs:
        table = _verified_path(catalog, f"{model}.pairs")
        card = (CARD,) if (table.parent / CARD).is_file() else ()
        uploads.append(Upload(f"{repo}-pairs", "dataset", table.parent, (*card, table.name)))
    return uploads


def send(upload: Upload, private: bool) -> str:
    """Makes the repository if it is new, commits all files at once, and returns the address.

    `HF_ENDPOINT` names the hub. The token comes from the user's login or environment.

    Raises:
        InputError: The hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,  # from the HTTP client that this version of the library uses
        OfflineModeIsEnabled,
    )

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        address = api.create_repo(
            upload.repo, repo_type=upload.kind, private=private, exist_ok=True
        )
        api.upload_folder(
            repo_id=upload.repo,
            repo_type=upload.kind,
            folder_path=upload.folder,
            allow_patterns=list(upload.files),
            commit_message="Pushed by srlm_kedro",
        )
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        raise InputError(
            f"push: {upload.repo} was not written to {api.endpoint}: {_one_line(error)}. Log in "
            "with `hf auth login` or set HF_TOKEN, and check that the token may write there; "
            "HF_ENDPOINT names another hub."
        ) from error
    return str(address)


def _refuse_scripted(folder: Path) -> None:
    """Refuses a model of the scripted engine, which has neither weights nor a tokenizer."""
    if is_scripted(folder):
        raise InputError(
            f"push: {folder} is no Hugging Face model: the scripted engine made it, without "
            "config.json and weights. Name the environment of a real model (`--env`, `--params`)."
        )


def _refuse_adapter(folder: Path) -> None:
    """Refuses an adapter, because its base is a folder of this machine."""
    file = folder / "adapter_config.json"
    if file.is_file():
        base = json.loads(file.read_text("utf-8")).get("base_model_name_or_path")
        raise InputError(
            f"push: {folder} holds only an adapter, and its base is {base} on this machine. Train "
            "with `lora.keep: merged`, so that the model is complete."
        )


def _verified_path(catalog: CatalogProtocol, name: str) -> Path:
    """The dataset's file or folder, whose content must be what its manifest says."""
    path = output_path(catalog, name)
    manifest = None if path is None else read_manifest(path)
    if path is None or manifest is None:
        raise InputError(
            f"push: {name} is missing or incomplete ({path} has no manifest). Make it first with "
            f"`{run_command()}`, or correct `--model`, `--env` and `--params`."
        )
    if content_digest(path) != manifest["digest"]:
        raise InputError(
            f"push: {path} differs from its manifest: a file was changed, added or lost after "
            f"{name} was made. Remove {path} and run again."
        )
    return path


def _files(folder: Path) -> tuple[str, ...]:
    """The paths of all files to send."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    kept = [file for file in files if not any(map(file.match, _LEFT_OUT))]
    return tuple(PurePath(file.relative_to(folder)).as_posix() for file in kept)


def _one_line(error: Exception) -> str:
    """The error in one line, with the HTTP status if the hub answered."""
    response: Any = getattr(error, "response", None)
    status = f"HTTP {response.status_code}, " if response is not None else ""
    return f"{status}{' '.join(str(error).split())[:300]}".rstrip(".")
