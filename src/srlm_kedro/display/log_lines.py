"""One line an event: the handler `told` of conf/logging.yml."""

import copy
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from srlm_kedro.display.safe_text import visible

_HANDLER = "told"
"""Its name in conf/logging.yml; a configuration of the user's own may have none of that name."""
_BETWEEN = " | "


class OneLine(logging.Formatter):
    """Puts a message of many lines into one, harmless in a terminal; a traceback follows as it is.

    Nothing is wrapped: whoever reads a line sees the whole event, and so does `grep`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        parts = (part.strip() for part in record.getMessage().splitlines())
        told = copy.copy(record)
        told.msg, told.args = visible(_BETWEEN.join(filter(None, parts))), None
        return super().format(told)


def set_up() -> None:
    """Has the handler tell one line an event, warnings of Python's included."""
    for handler in _handlers():
        given = handler.formatter or logging.Formatter()
        handler.setFormatter(OneLine(given._fmt, given.datefmt))
        logging.captureWarnings(True)


@contextmanager
def above(stream: object) -> Iterator[None]:
    """Inside: lines go to `stream`, which puts them above a bar. Afterwards: where they went."""
    before = [(handler, handler.setStream(stream)) for handler in _handlers()]
    try:
        yield
    finally:
        for handler, old in before:
            handler.setStream(old or sys.stderr)


def _handlers() -> list[logging.StreamHandler]:
    return [
        handler
        for handler in logging.getLogger().handlers
        if handler.name == _HANDLER and isinstance(handler, logging.StreamHandler)
    ]
