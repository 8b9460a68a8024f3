"""Checkpoints as artifacts and registered model versions.

`models:/srlm_kedro@m3` names the newest M3. It is a Hugging Face folder with a file `MLmodel`, so
`mlflow models serve` can serve it. MLflow's transformers flavour is not used: version 3.17 fails on
transformers 5, and it would import torch.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import add_to_model
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

from srlm_kedro.records import Checkpoint
from srlm_kedro.tracking.places import is_within, local_path

_BASE_ENVIRONMENTS = (None, "base", "local")
_FOLDER = "model"
_DIGEST = "digest"
_DROPPED = "srlm.weights_dropped"
_KEPT = ("MLmodel", "README.md")
_SERVER = "srlm_kedro.engines.serving"
_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "prompt")]),
    params=ParamSchema(
        [
            ParamSpec("temperature", "double", 0.7),
            ParamSpec("top_p", "double", 0.9),
            ParamSpec("max_new_tokens", "long", 256),
            ParamSpec("seed", "long", 0),
        ]
    ),
)
"""What a served model takes: prompts and sampling parameters."""


def register_checkpoint(
    client: MlflowClient, run: str, name: str, model: Checkpoint, digest: str
) -> str:
    """Keeps the checkpoint with the run and moves the alias `model.name` to its version.

    Args:
        client: Of the tracking database.
        run: The id of the run that the model belongs to.
        name: The registered model.
        model: A checkpoint on disk.
        digest: Of its content; the same content is registered only once.

    Returns:
        The version.
    """
    artifacts = client.get_run(run).info.artifact_uri
    _keep(client, run, artifacts, model.path)
    _ensure_registered(client, name)
    if (known := known_version(client, name, model, digest)) is not None:
        return known
    version = client.create_model_version(
        name,
        f"{artifacts}/{_FOLDER}",
        run_id=run,
        tags={"model": model.name, _DIGEST: digest},
        description=f"{model.name.upper()}, a Hugging Face folder.",
    )
    client.set_registered_model_alias(name, model.name, version.version)
    return str(version.version)


def known_version(client: MlflowClient, name: str, model: Checkpoint, digest: str) -> str | None:
    """The version with this content, if there is one; moves the alias `model.name` to it."""
    version = _version(client, name, model.name, digest)
    if version is None:
        return None
    client.set_registered_model_alias(name, model.name, version.version)
    return str(version.version)


def registered_model(env: str | None) -> str:
    """The name of the registered model of an environment; each control has one of its own."""
    return "srlm_kedro" if env in _BASE_ENVIRONMENTS else f"srlm_kedro-{env}"


def drop_weights(client: MlflowClient, name: str, model: str, digest: str, artifacts: str) -> None:
    """Deletes the files of a version if they are on this machine, in the project's artifacts.

    The card and `MLmodel` stay, and a tag says that the weights are gone.

    Args:
        client: Of the tracking database.
        name: The registered model.
        model: The model's name in the chain (`m2`).
        digest: Of the content to delete; another project's model has another digest.
        artifacts: Where the project's experiment keeps its artifacts.
    """
    version = _version(client, name, model, digest)
    if version is None or _DROPPED in version.tags:
        return
    folder, place = local_path(version.source), local_path(artifacts)
    if folder is None or place is None or not is_within(folder, place):
        return
    for file in folder.glob("*"):
        if file.is_file() and file.name not in _KEPT:
            file.unlink()
    client.set_model_version_tag(name, version.version, _DROPPED, "true")


def tag_version(client: MlflowClient, name: str, alias: str, tags: Mapping[str, str]) -> None:
    """Puts tags on the version with the alias, if there is one."""
    try:
        version = client.get_model_version_by_alias(name, alias).version
    except MlflowException:
        return
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


def _version(client: MlflowClient, name: str, model: str, digest: str) -> ModelVersion | None:
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.tags.get("model") == model and version.tags.get(_DIGEST) == digest:
            return version
    return None


def _keep(client: MlflowClient, run: str, artifacts: str, folder: Path) -> None:
    if (place := local_path(artifacts)) is not None:
        target = place / _FOLDER
        shutil.copytree(folder, target, copy_function=_link_or_copy, dirs_exist_ok=True)
        _describe(target)
        return
    client.log_artifacts(run, str(folder), _FOLDER)
    with tempfile.TemporaryDirectory() as beside:
        _describe(Path(beside))
        client.log_artifacts(run, beside, _FOLDER)


def _describe(folder: Path) -> None:
    """Writes the file that tells MLflow how to load and serve the folder."""
    model = Model(signature=_SIGNATURE)
    add_to_model(model, loader_module=_SERVER)
    model.save(str(folder / "MLmodel"))


def _link_or_copy(source: str, target: str) -> None:
    """Links the file, because a model's files never change; copies it if that is impossible."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _ensure_registered(client: MlflowClient, name: str) -> None:
    try:
        client.get_registered_model(name)
    except MlflowException:
        description = "The chain M0, SFT, M1, M2, ...: an alias names the newest of each."
        try:
            client.create_registered_model(name, description=description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run was first
                raise
