"""The rows of a file as the file holds them, each with its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError, summary

FileFormat = Literal["JSON lines", "JSON array", "Parquet", "CSV", "dataset"]

LONGEST_FAULT = 500
"""Characters of a fault: some libraries quote what they read."""
DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
"""What may separate the columns of a CSV file."""


@dataclass(frozen=True)
class Row:
    """One row of a file and its place."""

    place: str
    """`line 7` in JSON lines and CSV (where the row ends), `row 7` elsewhere; the first is 1. In a
    folder of parts the name of the part comes before it."""
    value: Any
    """A mapping if the file is sound; None if the row could not be read."""
    fault: str = ""
    """Why the row could not be read."""


@dataclass(frozen=True)
class Table:
    """All rows of a file, in the order of the file."""

    source: str
    """The path of the file, or the name of the dataset."""
    format: FileFormat
    rows: list[Row]
    delimiter: str = ""
    """What separates the columns of a CSV file."""

    def described(self) -> str:
        """The file and the format in which it was read."""
        by = f" with {DELIMITERS[self.delimiter]} between the columns" if self.delimiter else ""
        return f"{self.source} ({self.format}{by})"

    def columns(self) -> list[str]:
        """Every column that some row has."""
        mappings = (row.value for row in self.rows if isinstance(row.value, dict))
        return list(dict.fromkeys(name for mapping in mappings for name in mapping))

    def checked(self, check: Callable[[int, Row], Any], rule: str) -> list[Any]:
        """What `check` returns for each row.

        Args:
            check: Takes the number of a row (the first is 1) and the row.
            rule: What rows must be, for the message.

        Raises:
            InputError: Some rows could not be read, or `check` raised a ValueError for them. The
                message names all of them with their places.
        """
        results, faults = [], []
        for number, row in enumerate(self.rows, start=1):
            try:
                if row.fault:
                    raise ValueError(row.fault)
                results.append(check(number, row))
            except ValueError as error:
                message = one_line(str(error), LONGEST_FAULT)
                faults.append(f"{self.source}, {row.place}: {message}")
        if faults:
            raise InputError(summary(f"{self.source}: {len(faults)} bad rows; {rule}.", faults))
        return results


def numbered_rows(values: Sequence[Any]) -> list[Row]:
    """The rows of a format without lines: `row 1`, `row 2`, ..."""
    return [Row(f"row {number}", value) for number, value in enumerate(values, start=1)]


def without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its nulls: a table of fixed columns cannot leave a value out otherwise."""
    return {name: value for name, value in row.items() if value is not None}
