"""What is asked of one training by SFT or DPO, and what of it is refused."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.engines.training.trl.policy import Policy
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
class Job:
    """What is asked of one training."""

    label: str
    model: Checkpoint
    params: Any
    """SftParams or DpoParams."""
    rate: float
    """Peak learning rate, read off its schedule."""
    least_rate: float
    """Where its cosine ends, read off its schedule."""
    seed: int

    def refuse_settings(self, count: int) -> None:
        params, faults = self.params, []
        if not count:
            faults.append("there is nothing to train on; look why the table is empty")
        if faults := faults + params.contradictions():
            raise InputError(summary(f"{self.label}: training cannot start.", faults))

    def fitting(
        self, policy: Policy, rows: Sequence[Row], items: Sequence[Example | Preference]
    ) -> list[Row]:
        """The rows that are not too long; the others are left out, and the log names the first.

        Raises:
            InputError: More rows are too long than `max_too_long` allows.
        """
        limit = limit_of(self.params.max_length, policy.positions)
        long = long_rows(rows, [item.prompt for item in items], limit)
        allowed = self.params.max_too_long
        if len(long) > allowed * len(rows) or len(long) == len(rows):
            heading = (
                f"{self.label}: {limit.heading(len(long), len(rows))} The run goes on without "
                f"them where they are no larger a share than `max_too_long` = {allowed:g}."
            )
            raise InputError(summary(heading, list(long.values())))
        if long:
            _log.warning(
                "%s: %d of %d rows are longer than %s = %d tokens, and are left out. First: %s.",
                *(self.label, len(long), len(rows), limit.name, limit.tokens),
                next(iter(long.values())),
            )
        return [row for place, row in enumerate(rows) if place not in long]

    def reading(self, rows: Sequence[Row]) -> list[int]:
        """The rows' numbers, of all epochs, in the order of reading."""
        params = self.params
        return reading_order(
            [tokens(row) for row in rows], params.batch_size, params.epochs, self.seed
        )

    def deciding(self) -> dict[str, Any]:
        """What of it decides the bits: the model, and what rows and rounding follow from."""
        settings = self.params.recipe(self.model.iteration + 1, engine=True)
        # No result hangs on it but for rounding and the masks of dropout, which are bits too.
        settings["micro_batch_size"] = self.params.micro_batch_size
        return {
            "model": self.model,
            "iteration": self.model.iteration,
            "params": settings,
            "seed": self.seed,
        }
