"""Writes each event of a log on one line: the handler `told` of conf/logging.yml."""

import copy
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from srlm_kedro.display.safe_text import escaped

_HANDLER = "told"
"""Its name in conf/logging.yml; a user's own configuration may have no handler of that name."""
_BETWEEN = " | "


class OneLine(logging.Formatter):
    """Writes a message of many lines on one line, harmless in a terminal.

    The line is not wrapped, so a reader and `grep` see the whole event. A traceback follows it
    unchanged.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        parts = (part.strip() for part in record.getMessage().splitlines())
        flat = copy.copy(record)
        flat.msg, flat.args = escaped(_BETWEEN.join(filter(None, parts))), None
        return super().format(flat)


def set_up() -> None:
    """Makes the handler write one line per event, and logs Python's warnings too."""
    for handler in _handlers():
        given = handler.formatter or logging.Formatter()
        handler.setFormatter(OneLine(given._fmt, given.datefmt))
        logging.captureWarnings(True)


@contextmanager
def redirected(stream: object) -> Iterator[None]:
    """Sends log lines to `stream` within the block, so that a progress bar can stay below them."""
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
