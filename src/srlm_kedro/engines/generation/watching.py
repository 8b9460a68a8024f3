"""Lets who asks for completions see them while they are drawn, and stop a drawing without hope."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from srlm_kedro.engines.generation.base import Completion, Request

Key = tuple[str, int]
"""The id of a request, and the number of the completion."""


class Watch(Protocol):
    """Is told of completions by engines that can tell; another engine is simply not watched.

    Watching changes nothing of what is drawn.
    """

    is_open: bool
    """Whether it still wants to be told."""

    def begin(self, key: Key) -> None:
        """The completion is being drawn from now on; it may be told again."""
        ...

    def end(self, key: Key, completion: Completion) -> None:
        """The completion is drawn. Whatever error this raises stops the drawing."""
        ...


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched_by(watch: Watch) -> Iterator[None]:
    """Inside, engines tell `watch` what they draw."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def begin_all(requests: Sequence[Request], places: Iterable[tuple[int, int]]) -> None:
    """Tells who watches that completions are being drawn, by request's place and sample."""
    if watch := current():
        for place, sample in places:
            watch.begin((requests[place].id, sample))


def end_all(requests: Sequence[Request], drawn: Mapping[tuple[int, int], Completion]) -> None:
    """Tells who watches of completions that are drawn, by request's place and sample."""
    for (place, sample), completion in drawn.items():
        if watch := current():
            watch.end((requests[place].id, sample), completion)


def current() -> Watch | None:
    """Who watches; None if nobody does, or if the watch has seen enough."""
    watch = _watch.get()
    return watch if watch is not None and watch.is_open else None
