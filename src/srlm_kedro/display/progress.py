"""How far long work is: who does it says so, whoever shows it listens, and a log gets a line.

Work within work (a shard of a drawing) counts for the outer one: what it adds is added there.
"""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Self

PAUSE = 30.0
"""Seconds between lines in a log."""

_ENOUGH = 0.02
"""Share that must be done before anybody can say how long the rest takes."""

_log = logging.getLogger(__name__)

Listener = Callable[[str, float, float, str], None]
"""Takes the node at work, what is done, what there is to do, and both in words."""

node: ContextVar[str] = ContextVar("node", default="")
"""The name of the node that this thread is at; empty where nobody said."""
stage: ContextVar[str] = ContextVar("stage", default="")
"""What that node does, in the words of the log; empty where nobody said."""
_open: ContextVar["Progress | None"] = ContextVar("open", default=None)
_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Has all work of this process told to `listener`, in place of lines in the log."""
    _listeners.append(listener)


def unlisten(listener: Listener) -> None:
    """Undoes `listen`."""
    _listeners.remove(listener)


class Progress:
    """Counts what is done of one piece of work."""

    def __init__(
        self,
        name: str,
        total: float,
        unit: str = "completions",
        clock: Callable[[], float] = time.monotonic,
    ):
        """Says how many `unit`s there are to do; `name` is told where no stage has a name."""
        self._name, self._total, self._unit, self._clock = name, total, unit, clock
        self._outer, self._node = _open.get(), node.get()
        self._token: Token | None = None
        self._done = self._skipped = self._tokens = 0.0
        self._start = self._spoken = clock()

    def __enter__(self) -> Self:
        self._token = _open.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            _open.reset(self._token)

    @property
    def done(self) -> float:
        """What is done so far."""
        return self._done

    def add(self, done: float, tokens: float = 0, also: str = "") -> None:
        """Notes that so much more is done; `tokens` were drawn, `also` says what else is news."""
        if self._outer is not None:
            self._outer.add(done, tokens, also)
            return
        self._done += done
        self._tokens += tokens
        self._tell(also)

    def reach(self, done: float, also: str = "") -> None:
        """Notes that this much is done in all, unless that is known already."""
        if done > self._done:
            self.add(done - self._done, also=also)

    def skip(self, done: float) -> None:
        """Notes what an earlier run has done: it says nothing of this one's pace."""
        self._skipped += done
        self._done += done

    def _tell(self, also: str) -> None:
        far = f"{self._done:,.0f} of {self._total:,.0f}"
        for listener in _listeners:
            listener(self._node, self._done - self._skipped, self._total - self._skipped, far)
        now = self._clock()
        if not _listeners and now - self._spoken >= PAUSE:
            self._spoken = now
            told = ", ".join(self._words(far, now - self._start, also))
            _log.info("%s: %s", stage.get() or self._name, told)

    def _words(self, far: str, passed: float, also: str) -> list[str]:
        words = [f"{far} {self._unit}"]
        if self._tokens and passed:
            words.append(f"{self._tokens / passed:,.0f} tokens/s")
        if also:
            words.append(also)
        drawn = self._done - self._skipped
        enough = _ENOUGH * (self._total - self._skipped)
        if drawn > enough and self._done < self._total:
            left = passed / drawn * (self._total - self._done)
            words.append(f"about {lasting(left)} left")
        return words


def lasting(seconds: float) -> str:
    """A span of time as a person says it: 0.3 s, 34 s, 7 min, 2 h 5 min, 3 days."""
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


def is_watched() -> bool:
    """Whether somebody shows progress, so that a log needs no lines of it."""
    return bool(_listeners)
