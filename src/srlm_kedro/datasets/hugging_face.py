"""The dataset of seed data that `datasets` reads from a local folder or file, or from the hub."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.utils import load_obj
from pydantic import BaseModel

from srlm_kedro.datasets.read_only import ReadOnlyDataset
from srlm_kedro.datasets.rows.columns import Columns, refuse_columns
from srlm_kedro.datasets.rows.rankings import refuse_reasons
from srlm_kedro.datasets.rows.table import Table, numbered_rows, without_nulls
from srlm_kedro.datasets.seed import reading_options, seed_table
from srlm_kedro.errors import InputError
from srlm_kedro.freshness.manifest import content_digest


class HubSeedDataset(ReadOnlyDataset[pd.DataFrame]):
    """The rows of a Hugging Face dataset, in the form of `record`. Only `hub` uses the network."""

    ORIGIN = "seed data is only read"
    INTERPRETS = True
    """This class decides which rows a file gives, so its code counts for what is made of them."""

    def __init__(
        self,
        record: str,
        path: str | None = None,
        hub: str | None = None,
        split: str | None = None,
        columns: Columns | None = None,
        drop: Sequence[str] = (),
        ignore: Sequence[str] = (),
        config: str | None = None,
        revision: str | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        """Names the dataset by `path` or by `hub`.

        Args:
            record: The pydantic class that each row must fit, as `package.module.Class`.
            path: A local file, a folder of data files, or a folder that `save_to_disk` wrote. If a
                README in the folder names other files, they are not read.
            hub: `owner/name` of a dataset on the hub; it is downloaded.
            split: Which split, if there are several.
            columns: The column for each field of `record`; see `SeedDataset`.
            drop: Reasons for which rows may be left out; see `SeedDataset`.
            ignore: Columns that are not read; see `SeedDataset`.
            config: Which configuration of a dataset on the hub.
            revision: The commit on the hub. Without it, what was made from an earlier version of
                the dataset does not become stale when the dataset changes.
            metadata: Free notes.
        """
        if (path is None) == (hub is None):
            raise InputError("HubSeedDataset: give either `path` (local) or `hub` (owner/name).")
        self._record: type[BaseModel] = load_obj(record)
        self._filepath = None if path is None else Path(path)
        refuse_columns(columns, ignore)
        refuse_reasons(drop)
        self._hub, self._split, self._columns = hub, split, columns
        self._drop, self._ignore = tuple(drop), tuple(ignore)
        self._config, self._revision = config, revision
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """All rows of the split.

        Raises:
            DatasetError: There is no readable dataset, no such split, or a row does not fit.
        """
        import datasets

        try:
            rows = self._rows()
        except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self._source()}: the dataset cannot be read ({error.__cause__ or error}). "
                "Correct its entry in the catalog, or fetch the data again."
            ) from error
        table = Table(self._source(), "dataset", numbered_rows(rows))
        return seed_table(table, self._record, self._columns, self._drop, self._ignore)

    def fingerprint(self) -> dict[str, Any]:
        """What decides the rows: the entry's options, and local files or the name on the hub."""
        options = reading_options(self._columns, self._drop, self._ignore)
        if self._filepath is None:
            source = {"hub": self._hub, "config": self._config, "revision": self._revision}
        else:
            source = {"content": content_digest(self._filepath)}
        return {"split": self._split, **options, **source}

    def described(self) -> str:
        """The folder or file, or the name on the hub."""
        return self._source()

    def _rows(self) -> list[dict[str, Any]]:
        if self._hub is not None:
            import datasets

            return self._chosen(
                datasets.load_dataset(self._hub, self._config, revision=self._revision)
            )
        # A new cache: `datasets` must not return an older reading of the same path.
        with tempfile.TemporaryDirectory() as cache:
            return self._chosen(_local(Path(self._source()), cache))

    def _chosen(self, splits: Any) -> list[dict[str, Any]]:
        names = list(splits)
        split = self._split or (names[0] if len(names) == 1 else None)
        if split not in names:
            fault = f"no split {split}" if split else "several splits"
            raise InputError(
                f"{self._source()}: {fault}. Name one as `split`: {', '.join(map(str, names))}."
            )
        return [without_nulls(row) for row in splits[split].to_list()]

    def _source(self) -> str:
        return str(self._filepath or self._hub)

    def _exists(self) -> bool:
        return self._filepath is None or self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source(), "split": self._split, "record": self._record.__name__}


def _local(path: Path, cache: str) -> Any:
    """The splits of a folder or file by name, read without the network."""
    import datasets
    from datasets.data_files import get_data_patterns

    if not path.exists():
        raise InputError(f"{path} is not there. To read from the hub, name it as `hub`.")
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        saved = datasets.load_from_disk(path)
        return saved if isinstance(saved, datasets.DatasetDict) else {"train": saved}
    folder = (path if path.is_dir() else path.parent).resolve()
    # Named files keep `datasets` from reading a README, which can name files elsewhere to download.
    files = get_data_patterns(str(folder)) if path.is_dir() else {"train": [path.name]}
    return datasets.load_dataset(str(folder), data_files=files, cache_dir=cache)
