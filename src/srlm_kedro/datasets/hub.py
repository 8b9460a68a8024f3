"""Datasets of models that the user names; a model from the hub is downloaded only here."""

from pathlib import Path
from typing import Any

from srlm_kedro.datasets.model_folder import refuse_unless_checkpoint
from srlm_kedro.datasets.models import CheckpointDataset
from srlm_kedro.datasets.read_only import ReadOnlyDataset
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
    """A model that the user names in one word: a folder, or `hub:owner/name[@revision]`."""

    ORIGIN = "a given model is only read"

    def __init__(
        self,
        name: str,
        model: str | None = None,
        filepath: str | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names the model by `model`, or by a folder of the project that Kedro makes absolute.

        Args:
            name: The model's place in the chain: `m0`.
            model: A folder, or `hub:owner/name[@revision]`.
            filepath: A folder, relative to the project.
            metadata: Free notes.

        Raises:
            InputError: Both are given, or neither is.
        """
        if (model is None) == (filepath is None):
            raise InputError(f"{name}: give either `model` or `filepath` in the catalog.")
        self._model = model = model or str(filepath)
        repo, revision = split_name(model)
        self._source: HubCheckpointDataset | CheckpointDataset = (
            HubCheckpointDataset(repo, revision, name)
            if model.startswith("hub:")
            else CheckpointDataset(model, name)
        )
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """The handle.

        Raises:
            DatasetError: The folder is no checkpoint, or the hub gives none.
        """
        return self._source.load()

    def fingerprint(self) -> dict[str, Any]:
        """The name on the hub, or the folder's content."""
        if isinstance(self._source, HubCheckpointDataset):
            return self._source.fingerprint()
        return {"content": content_digest(Path(self._model))}

    def _describe(self) -> dict[str, Any]:
        return {"model": self._model}
