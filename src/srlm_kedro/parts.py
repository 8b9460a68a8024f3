"""Rows and tables that may be larger than memory: made, and read, part by part."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar, overload

import pandas as pd

ROWS = 65_536
"""Rows of a part."""
_Item = TypeVar("_Item")


class Parts:
    """A table in parts: DataFrames with the same columns, at least one of them."""

    def __init__(self, parts: Callable[[], Iterator[pd.DataFrame]]):
        """Takes what gives the parts from the first one on, each time that it is called."""
        self._parts = parts

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Parts":
        """A table that is in memory, as its only part."""
        return cls(lambda: iter([table]))

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """The parts in their order."""
        return self._parts()

    def whole(self) -> pd.DataFrame:
        """The whole table in memory, with rows numbered from 0."""
        first, *others = self
        return pd.concat([first, *others], ignore_index=True) if others else first

    def move(self, parts: Callable[[], Iterator[pd.DataFrame]]) -> None:
        """Names another place of the same rows: where they came from may be deleted then."""
        self._parts = parts


def tables(rows: Iterator[tuple], columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The rows in tables of `ROWS`; one table without rows if there are none."""
    part = list(islice(rows, ROWS))
    while True:
        yield pd.DataFrame(part, columns=list(columns))
        if not (part := list(islice(rows, ROWS))):
            return


class Made(Sequence[_Item]):
    """Items that are made when they are asked for, and not kept."""

    def __init__(self, count: int, make: Callable[[int], _Item]):
        """Takes their number, and what makes the item at a place."""
        self._count, self._make = count, make

    def __len__(self) -> int:
        """Their number."""
        return self._count

    @overload
    def __getitem__(self, place: int) -> _Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[_Item]: ...
    def __getitem__(self, place: Any) -> Any:
        """An item; for a slice a list of items."""
        found = range(self._count)[place]
        return self._make(found) if isinstance(found, int) else [self._make(one) for one in found]
