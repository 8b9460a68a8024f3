"""One SFT or DPO that is asked for: its settings, what is refused, and its rows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.engines.training.trl.token_rows import (
    Row,
    limit_of,
    long_rows,
    reading_order,
    tokens,
)
from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint, Example, Preference

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """The rows of a training, and the order in which they are read."""

    rows: list[Row]
    order: list[int]
    """Numbers of rows, of all epochs."""
    too_long: int
    """Rows that were left out."""


@dataclass(frozen=True)
class Job:
    """One training that is asked for."""

    label: str
    """What is trained, for messages: `DPO of m1`."""
    model: Checkpoint
    params: Any
    """SftParams or DpoParams."""
    rate: float
    """The peak learning rate of this iteration."""
    least_rate: float
    """The end of the learning rate's cosine in this iteration."""
    seed: int

    def refuse_settings(self, count: int) -> None:
        """Raises InputError if the settings contradict each other, or if `count` rows are none."""
        params, faults = self.params, []
        if not count:
            faults.append("there is nothing to train on; look why the table is empty")
        if faults := faults + params.contradictions():
            raise InputError(summary(f"{self.label}: training cannot start.", faults))

    def prepare(
        self, rows: Sequence[Row], items: Sequence[Example | Preference], positions: int | None
    ) -> Prepared:
        """The rows that fit, and their order; logs how much is trained before it is.

        Args:
            rows: In tokens.
            items: What they were made from.
            positions: The longest sequence that the model can see; None if it has no limit.

        Raises:
            InputError: More rows are too long than `max_too_long` allows.
        """
        fitting = self._rows_that_fit(rows, items, positions)
        self._announce(fitting)
        lengths = [tokens(row) for row in fitting]
        params = self.params
        order = reading_order(lengths, params.batch_size, params.epochs, self.seed)
        return Prepared(fitting, order, len(rows) - len(fitting))

    def identity(self) -> dict[str, Any]:
        """What decides the bits of the trained model, apart from the rows themselves."""
        settings = self.params.recipe(self.model.iteration + 1, engine=True)
        # It only changes rounding and the masks of dropout, but these change bits.
        settings["micro_batch_size"] = self.params.micro_batch_size
        return {
            "model": self.model,
            "iteration": self.model.iteration,
            "params": settings,
            "seed": self.seed,
        }

    def _rows_that_fit(
        self, rows: Sequence[Row], items: Sequence[Example | Preference], positions: int | None
    ) -> list[Row]:
        """The rows without those that are too long; the log names the first of those."""
        limit = limit_of(self.params.max_length, positions)
        long = long_rows(rows, [item.prompt for item in items], limit)
        allowed = self.params.max_too_long
        if len(long) > allowed * len(rows) or len(long) == len(rows):
            heading = (
                f"{self.label}: {limit.heading(len(long), len(rows))} The run leaves them out and "
                f"goes on if their share is at most `max_too_long` = {allowed:g}."
            )
            raise InputError(summary(heading, list(long.values())))
        if long:
            _log.warning(
                "%s: %d of %d rows are longer than %s = %d tokens, and are left out. First: %s.",
                *(self.label, len(long), len(rows), limit.name, limit.tokens),
                next(iter(long.values())),
            )
        return [row for place, row in enumerate(rows) if place not in long]

    def _announce(self, rows: Sequence[Row]) -> None:
        """Logs how much is trained before it is; warns if that can hardly teach anything."""
        params = self.params
        _log.info(
            "%s: %d %s of %s tokens, %g epochs: %d steps of %d %s.",
            *(self.label, len(rows), params.ROWS, f"{sum(map(tokens, rows)):,}", params.epochs),
            *(params.steps(len(rows)), params.batch_size, params.ROWS),
        )
        if few := params.too_few_steps(len(rows)):
            _log.warning("%s: %s", self.label, few)
