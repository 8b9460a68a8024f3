"""A table in one Parquet file that is written and read part by part."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from srlm_kedro.parts import ROWS, Parts


class PartsDataset(AbstractDataset[Parts | pd.DataFrame, Parts | pd.DataFrame]):
    """A table that may be larger than memory; the file is complete or absent.

    A node gives `Parts` or a DataFrame.
    """

    def __init__(self, filepath: str, whole: bool = False, metadata: dict[str, Any] | None = None):
        """Names the file.

        Args:
            filepath: Of Parquet.
            whole: Whether nodes get a DataFrame; otherwise they get `Parts`.
            metadata: Free notes.
        """
        self._filepath, self._whole = PurePosixPath(filepath), whole
        self.metadata = metadata

    def load(self) -> Parts | pd.DataFrame:
        """The table; of `Parts` nothing is read yet.

        Raises:
            FileNotFoundError: The file is not there.
        """
        file = Path(self._filepath)
        if not file.exists():
            raise FileNotFoundError(f"{file}: there is no such file.")
        return pd.read_parquet(file) if self._whole else Parts(lambda: _read(file))

    def save(self, data: Parts | pd.DataFrame) -> None:
        """Writes the parts one by one; `data` is read from the file afterwards."""
        import pyarrow  # takes half a second, which most runs need not spend
        import pyarrow.parquet

        file = Path(self._filepath)
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.unfinished")
        parts = iter(Parts.of(data) if isinstance(data, pd.DataFrame) else data)
        first = pyarrow.Table.from_pandas(next(parts), preserve_index=False)
        with pyarrow.parquet.ParquetWriter(unfinished, first.schema) as writer:
            writer.write_table(first)
            for part in parts:
                table = pyarrow.Table.from_pandas(part, first.schema, preserve_index=False)
                writer.write_table(table)
        unfinished.replace(file)
        if isinstance(data, Parts):
            data.move(lambda: _read(file))

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, for kedro-viz."""
        first = next(_read(Path(self._filepath))).head(nrows)
        return TablePreview(first.to_dict(orient="split"))

    def _exists(self) -> bool:
        return Path(self._filepath).exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


def _read(file: Path) -> Iterator[pd.DataFrame]:
    """The rows of a file in parts; an empty table is one part."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as source:
        if not source.metadata.num_rows:
            yield source.read().to_pandas()
        for batch in source.iter_batches(ROWS):
            yield batch.to_pandas()
