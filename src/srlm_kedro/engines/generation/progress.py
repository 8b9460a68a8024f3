"""How far a long drawing is: a bar in a terminal, now and then a line in a log."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Self

from tqdm import tqdm

_PAUSE = 30.0
"""Seconds between lines in a log."""

_log = logging.getLogger(__name__)


class Progress:
    """Counts completions and their tokens, with rate and time left; quiet when all is soon done."""

    def __init__(self, name: str, total: int, clock: Callable[[], float] = time.monotonic):
        """Names the model that draws and the number of completions that are wanted."""
        self._name, self._total, self._clock = name, total, clock
        self._done = self._tokens = 0
        self._start = self._spoken = clock()
        self._bar = tqdm(
            total=total, desc=name, unit=" completions", leave=False, disable=not _terminal()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, completions: int, tokens: int) -> None:
        """Notes what a batch has drawn."""
        self._done += completions
        self._tokens += tokens
        self._bar.update(completions)
        now = self._clock()
        if self._bar.disable and now - self._spoken >= _PAUSE:
            self._spoken = now
            self._speak(now - self._start)

    def _speak(self, passed: float) -> None:
        _log.info(
            "%s: %d of %d completions, %.0f tokens/s, about %.0f s left",
            self._name,
            self._done,
            self._total,
            self._tokens / passed,
            passed / self._done * (self._total - self._done),
        )


def _terminal() -> bool:
    return sys.stderr.isatty()
