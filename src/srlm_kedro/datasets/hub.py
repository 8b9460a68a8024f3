"""Datasets of models that the user names; a model from the hub is downloaded only here."""

from pathlib import Path
from typing import Any

from srlm_kedro.datasets.gguf import CONVERTER, GgufModel
from srlm_kedro.datasets.model_folder import refuse_unless_checkpoint
from srlm_kedro.datasets.models import CheckpointDataset
from srlm_kedro.datasets.options import check_options
from srlm_kedro.datasets.packages import PREFIX, packaged_path
from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.engines.gguf.header import is_gguf
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest
from srlm_kedro.records import Checkpoint

_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer*", "*.model", "merges.txt", "vocab.txt")
"""Weights, configurations and tokenizer, but no pickles and no code."""


def split_name(model: str) -> tuple[str, str | None]:
    """`hub:owner/name[@revision]` as repository and revision."""
    repo, _, revision = model.removeprefix("hub:").partition("@")
    return repo, revision or None


class HubCheckpointDataset(ReadOnlyDataset[Checkpoint]):
    """A model on the Hugging Face hub that starts the chain.

    It is downloaded when it is first loaded. Without a network it comes from the hub library's
    cache of an earlier run.
    """

    ORIGIN = "a model on the hub is only read"

    def __init__(
        self,
        hub: str,
        revision: str | None = None,
        name: str = "m0",
        cache_dir: str | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names the model.

        Args:
            hub: `owner/name` on the hub.
            revision: A commit, tag or branch. Name a commit: a tag or a branch can move to another
                commit, and what was made from the model would not become stale.
            name: Its place in the chain.
            cache_dir: Where downloads are kept (default: the hub library's own place).
            metadata: Free notes.
        """
        self._hub, self._revision, self._name = hub, revision, name
        self._cache_dir = cache_dir
        self._path: Path | None = None
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """The handle of the downloaded folder, the same one for the whole run.

        Raises:
            DatasetError: The hub does not answer or has no such model, or it is no checkpoint.
        """
        if self._path is None:
            path = self._download()
            refuse_unless_checkpoint(path)
            self._path = path
        return Checkpoint(self._path, self._name)

    def check(self) -> None:
        """Nothing is known about the model without a download."""

    def fingerprint(self) -> dict[str, Any]:
        """What the entry names; the hub is not asked."""
        return {"hub": self._hub, "revision": self._revision}

    def _download(self) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError

        try:
            folder = snapshot_download(
                self._hub,
                revision=self._revision,
                cache_dir=self._cache_dir,
                allow_patterns=list(_FILES),
                library_name="srlm_kedro",
            )
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise InputError(
                f"{self._hub} (revision {self._revision or 'main'}): the hub gives no such model: "
                f"{error}. Correct `hub` and `revision` in the catalog, log in for a model with "
                "restricted access (hf auth login), or name a local folder by a CheckpointDataset."
            ) from error
        return Path(folder)

    def _describe(self) -> dict[str, Any]:
        return {"hub": self._hub, "revision": self._revision, "name": self._name}


class GivenModelDataset(ReadOnlyDataset[Checkpoint]):
    """A model that the user names in one word.

    It is a folder, `hub:owner/name[@revision]`, a GGUF file, or a file or folder of an installed
    package (`package:NAME/PATH`).
    """

    ORIGIN = "a given model is only read"

    def __init__(
        self,
        name: str,
        model: str | None = None,
        filepath: str | None = None,
        gguf: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names the model by `model`, or by a path of the project that Kedro makes absolute.

        Args:
            name: The model's place in the chain: `m0`.
            model: A folder, `hub:owner/name[@revision]`, a GGUF file, or `package:NAME/PATH`.
            filepath: A folder or a GGUF file, relative to the project.
            gguf: For a GGUF file: `folder`, where the model made from it is kept, and `dtype` of
                its weights (`float32`, or `bfloat16`, which takes half the disk).
            metadata: Free notes.

        Raises:
            InputError: Both are given, or neither is; or `gguf` holds something else.
        """
        if (model is None) == (filepath is None):
            raise InputError(f"{name}: give either `model` or `filepath` in the catalog.")
        self._model = model or str(filepath)
        self._name, self._gguf = name, gguf and _checked(name, gguf)
        self._source: HubCheckpointDataset | CheckpointDataset | GgufModel | None = None
        self.metadata = metadata

    @property
    def interpreter(self) -> str | None:
        """The module whose code decides what a GGUF file gives; None for any other model."""
        return CONVERTER if isinstance(self._found(), GgufModel) else None

    def load(self) -> Checkpoint:
        """The handle.

        Raises:
            DatasetError: There is no such model, or no whole one.
        """
        return self._found().load()

    def check(self) -> None:
        """Refuses a folder or a file that is no model; nothing is downloaded or converted.

        Raises:
            DatasetError: There is no such folder, or no whole model in it.
            InputError: The same of a file.
        """
        source = self._found()
        if isinstance(source, CheckpointDataset):
            source.load()
        else:
            source.check()

    def fingerprint(self) -> dict[str, Any]:
        """The name on the hub, or the content of the folder or file."""
        source = self._found()
        if isinstance(source, CheckpointDataset):
            return {"content": content_digest(local_path(self._model))}
        return source.fingerprint()

    def _found(self) -> HubCheckpointDataset | CheckpointDataset | GgufModel:
        if self._source is None:
            self._source = self._find()
        return self._source

    def _find(self) -> HubCheckpointDataset | CheckpointDataset | GgufModel:
        if self._model.startswith("hub:"):
            repo, revision = split_name(self._model)
            return HubCheckpointDataset(repo, revision, self._name)
        path = local_path(self._model)
        if not is_gguf(path):
            return CheckpointDataset(str(path), self._name)
        if not self._gguf:
            raise InputError(
                f"{self._name}: the model {self._model} is a GGUF file, and its entry in the "
                "catalog must say where the folder made from it is kept. Write there `gguf: "
                '{folder: "${runtime_params:data,${globals:data}}/02_intermediate/gguf"}`.'
            )
        return GgufModel(self._model, self._name, **self._gguf)

    def _describe(self) -> dict[str, Any]:
        return {"model": self._model}


def local_path(model: str) -> Path:
    """The folder or file that `model` names on this machine; a hub has no part in it.

    Raises:
        InputError: It is in a package that is not installed or does not hold it.
    """
    return packaged_path(model) if model.startswith(PREFIX) else Path(model)


def _checked(name: str, gguf: dict[str, Any]) -> dict[str, Any]:
    known = {"folder", "dtype"}
    if "folder" not in gguf or not known.issuperset(gguf):
        raise InputError(
            f"{name}: `gguf` must hold `folder`, and may hold `dtype`, but it holds "
            f"{', '.join(map(str, gguf)) or 'nothing'}. Correct the model's entry in the catalog."
        )
    return check_options(f"{name}: gguf", GgufModel, gguf)
