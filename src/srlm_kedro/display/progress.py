"""Progress of long work: the worker reports it, and a listener or else the log shows it.

Work within other work (such as one shard of many completions) counts for the outer work: what it
adds is added there. Rows that are drawn together count by their tokens, so that rows which all
end late count before they do.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Self

from srlm_kedro.display.row_lengths import RowLengths

_PAUSE = 30.0
"""Seconds between two lines in a log."""
_OFTEN = 0.5
"""Seconds between two reports of rows at work."""
_ENOUGH = 0.02
"""Share of the work that must be done before the remaining time can be estimated."""

_log = logging.getLogger(__name__)

Listener = Callable[[str, float, float, str], None]
"""Takes the running node, the amount done, the amount to do, and both in words."""

node: ContextVar[str] = ContextVar("node", default="")
"""The name of the node that this thread runs; empty if it is not known."""
stage: ContextVar[str] = ContextVar("stage", default="")
"""What that node does, in the words of the log; empty if it is not known."""
_open: ContextVar["Progress | None"] = ContextVar("open", default=None)
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Reports all work of this process to `listener`, in place of lines in the log."""
    _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """Undoes `listen`."""
    _listeners.remove(listener)


class Progress:
    """Counts how much of one piece of work is done."""

    def __init__(
        self,
        name: str,
        total: float,
        unit: str = "completions",
        clock: Callable[[], float] = time.monotonic,
    ):
        """Starts the count.

        Args:
            name: Shown where the stage is not known.
            total: How many units there are to do.
            unit: What is counted, in the plural.
            clock: Gives seconds.
        """
        self._name, self._total, self._unit, self._clock = name, total, unit, clock
        self._outer, self._node = _open.get(), node.get()
        self._token: Token | None = None
        self._done = self._skipped = self._tokens = self._amount = 0.0
        self._rows = RowLengths()
        self._start = self._last_line = self._last_report = clock()

    def __enter__(self) -> Self:
        self._token = _open.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _open.reset(self._token)

    @property
    def done(self) -> float:
        """The amount done so far."""
        return self._done

    def add(self, done: float, tokens: float = 0, note: str = "") -> None:
        """Adds to the amount done.

        Args:
            done: How many more units.
            tokens: How many tokens were sampled for them.
            note: What else a log line shall say, such as the loss.
        """
        if self._outer is not None:
            self._outer.add(done, tokens, note)
            return
        self._done += done
        self._tokens += tokens
        if done and tokens:
            self._rows.end(tokens / done, done)
        self._report(note, self._clock())

    def at_work(self, lengths: Sequence[int], limit: int) -> None:
        """Tells how far the rows are that are drawn together and have not ended.

        Args:
            lengths: Tokens that each of them has.
            limit: The most tokens of a row.
        """
        if self._outer is not None:
            self._outer.at_work(lengths, limit)
            return
        self._rows.at_work, self._rows.limit = lengths, limit
        now = self._clock()
        if now - self._last_report >= _OFTEN:
            self._report("", now)

    def reach(self, done: float, note: str = "") -> None:
        """Sets the amount done in all, if it is more than is known already."""
        if done > self._done:
            self.add(done - self._done, note=note)

    def skip(self, done: float) -> None:
        """Adds what an earlier run has done, which does not count for the pace of this run."""
        self._skipped += done
        self._done += done

    def _report(self, note: str, now: float) -> None:
        self._last_report = now
        self._amount = max(self._amount, self._measured())
        far = f"{self._done:,.0f} of {self._total:,.0f}"
        for listener in _listeners:
            listener(self._node, self._amount, self._total - self._skipped, far)
        if not _listeners and now - self._last_line >= _PAUSE:
            self._last_line = now
            line = ", ".join(self._words(far, now - self._start, note))
            _log.info("%s: %s", stage.get() or self._name, line)

    def _measured(self) -> float:
        """How many units this run has done, parts of those at work included."""
        fresh, total = self._done - self._skipped, self._total - self._skipped
        waiting = total - fresh - len(self._rows.at_work)
        if not self._rows.limit or waiting < 0:
            return fresh
        drawn = self._rows.drawn
        whole = drawn + self._rows.left(waiting)
        return total * drawn / whole if whole else fresh

    def _words(self, far: str, passed: float, note: str) -> list[str]:
        words = [f"{far} {self._unit}"]
        tokens = self._tokens + sum(self._rows.at_work)
        if tokens and passed:
            words.append(f"{tokens / passed:,.0f} tokens/s")
        if note:
            words.append(note)
        total = self._total - self._skipped
        if total * _ENOUGH < self._amount < total:
            left = passed / self._amount * (total - self._amount)
            words.append(f"about {duration(left)} left")
        return words


def duration(seconds: float) -> str:
    """A span of time in words: 0.3 s, 34 s, 7 min, 2 h 5 min, 3 days."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes / 1440:.0f} days"


def has_listener() -> bool:
    """Whether a listener shows progress, so that the log needs no lines about it."""
    return bool(_listeners)
