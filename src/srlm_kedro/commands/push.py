"""A model, and the pairs that made it, to a hub: by an explicit command and never by a run."""

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from kedro.io import CatalogProtocol

from srlm_kedro.datasets.models import refuse_unless_checkpoint
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import CARD, SUFFIX, content_digest, read_manifest
from srlm_kedro.freshness.plan import output_path

_LEFT_OUT = (f"*{SUFFIX}", ".*")
"""Notes of this project, and what is half-written."""


@dataclass(frozen=True)
class Parcel:
    """What goes into one repository of a hub."""

    repo: str
    """`owner/name`."""
    kind: str
    """`model` or `dataset`."""
    folder: Path
    files: tuple[str, ...]
    """Names below the folder."""

    def listing(self) -> str:
        """Where it goes, and each file with its size in bytes."""
        sizes = {name: (self.folder / name).stat().st_size for name in self.files}
        lines = [f"  {size:>14,}  {name}" for name, size in sizes.items()]
        total = f"{sum(sizes.values()):,} bytes"
        return "\n".join([f"{self.kind} {self.repo}, {total} of {self.folder}:", *lines])


def open_catalog(project: Path, env: str | None, params: dict[str, Any]) -> CatalogProtocol:
    """The project's catalog, without a session: no hook runs, so no tracking server is asked."""
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
    context._pipelines_to_validate = []  # where files lie is all that is asked
    return context.catalog


def pack(catalog: CatalogProtocol, model: str, repo: str, pairs: bool) -> list[Parcel]:
    """The model's folder, and its pairs as a data set `<repo>-pairs`.

    Raises:
        InputError: A table or model is not there, not whole, or not what its manifest says.
    """
    folder = _whole(catalog, f"{model}.model")
    refuse_unless_checkpoint(folder)
    _refuse_adapter(folder)
    parcels = [Parcel(repo, "model", folder, _files(folder))]
    if pairs:
        table = _whole(catalog, f"{model}.pairs")
        card = (CARD,) if (table.parent / CARD).is_file() else ()
        parcels.append(Parcel(f"{repo}-pairs", "dataset", table.parent, (*card, table.name)))
    return parcels


def send(parcel: Parcel, private: bool) -> str:
    """Makes the repository if there is none, and commits all files at once; gives its address.

    The hub is `HF_ENDPOINT`'s, the token that of the user's own login or environment.

    Raises:
        InputError: The hub refuses, or is not reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HFValidationError,
        HTTPError,  # of the client that this version of the library uses
        OfflineModeIsEnabled,
    )

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        address = api.create_repo(
            parcel.repo, repo_type=parcel.kind, private=private, exist_ok=True
        )
        api.upload_folder(
            repo_id=parcel.repo,
            repo_type=parcel.kind,
            folder_path=parcel.folder,
            allow_patterns=list(parcel.files),
            commit_message="Pushed by srlm_kedro",
        )
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        raise InputError(
            f"push: {parcel.repo} was not written to {api.endpoint}: {_said(error)}. Log in with "
            "`hf auth login` or set HF_TOKEN, and see that the token may write there; HF_ENDPOINT "
            "names another hub."
        ) from error
    return str(address)


def _refuse_adapter(folder: Path) -> None:
    """An adapter on a folder of this machine is of no use elsewhere."""
    file = folder / "adapter_config.json"
    if file.is_file():
        base = json.loads(file.read_text("utf-8")).get("base_model_name_or_path")
        raise InputError(
            f"push: {folder} holds an adapter alone, and its base is {base} on this machine. Train "
            "with `lora.keep: merged`, so that the model is whole."
        )


def _whole(catalog: CatalogProtocol, name: str) -> Path:
    """The dataset's file or folder, when it is what its manifest says."""
    path = output_path(catalog, name)
    manifest = None if path is None else read_manifest(path)
    if path is None or manifest is None:
        raise InputError(
            f"push: {name} is not there, or not whole ({path} has no manifest). Make it first "
            "with `kedro run`, or correct `--model`, `--env` and `--params`."
        )
    if content_digest(path) != manifest["digest"]:
        raise InputError(
            f"push: {path} is not what its manifest says: a file was changed, added or lost after "
            f"{name} was made. Remove {path} and run again."
        )
    return path


def _files(folder: Path) -> tuple[str, ...]:
    """Names of all files to be sent."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    kept = [file for file in files if not any(map(file.match, _LEFT_OUT))]
    return tuple(PurePath(file.relative_to(folder)).as_posix() for file in kept)


def _said(error: Exception) -> str:
    """The error in one line, whatever a hub answered."""
    response: Any = getattr(error, "response", None)
    status = f"HTTP {response.status_code}, " if response is not None else ""
    return f"{status}{' '.join(str(error).split())[:300]}".rstrip(".")
