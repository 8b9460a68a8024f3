"""Errors of MLflow as one plain message: no server, a locked database, a full disk."""

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util.exc import CommandError
from mlflow.exceptions import MlflowException
from pydantic import ValidationError
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from srlm_kedro.errors import GateError, InputError
from srlm_kedro.tracking.address import address_source, is_server, visible_uri

_log = logging.getLogger(__name__)
_ERRORS = (
    *(MlflowException, RequestException, SQLAlchemyError, sqlite3.Error, CommandError),
    *(ValidationError, OSError),
)
_FEW_TRIES = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
"""A running server answers within this; a variable that the user has set keeps its value."""
_LOGS_EACH_TRY = "urllib3.connectionpool"
_LONGEST = 300


@contextmanager
def refuse_at_start(uri: str) -> Iterator[None]:
    """Inside, a server has a few seconds to answer, and an error of MLflow is a refusal.

    Raises:
        InputError: What MLflow said, and what to do.
    """
    try:
        with _few_tries():
            yield
    except _ERRORS as error:
        todo = "Start the server" if is_server(uri) else "Correct that"
        raise InputError(
            f"MLflow at {visible_uri(uri)}: {reason(error)}. No work was done. {todo}, or name "
            f"another place for the runs; this one is named by {address_source()}"
        ) from error


@contextmanager
def stop_run(uri: str) -> Iterator[None]:
    """Inside, an error of MLflow ends the run with a message.

    Raises:
        GateError: What MLflow said; all work is kept.
    """
    try:
        yield
    except _ERRORS as error:
        raise GateError(
            f"MLflow at {visible_uri(uri)}: {reason(error)}. All that was made is kept. Correct "
            "that; the same command goes on from there."
        ) from error


@contextmanager
def warn_only(uri: str) -> Iterator[None]:
    """Inside, an error of MLflow is a warning, because the run ends for another reason."""
    try:
        with _few_tries():
            yield
    except _ERRORS as error:
        _log.warning("MLflow at %s: %s. Its runs stay open.", visible_uri(uri), reason(error))


def reason(error: BaseException) -> str:
    """The first line of the error; for a refused connection, the reason that the system gave."""
    if isinstance(error, ValidationError):
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return f"mlflow.yml: {'; '.join(faults)}"[:_LONGEST]
    lines = (line.strip() for line in str(error).splitlines())
    first = next(filter(None, lines), type(error).__name__)
    # Requests wraps what the system said in the names of its layers.
    inner = re.search(r"Caused by \w+\((?:.*: )?(.+?)['\")]*$", first)
    words = f"no answer ({inner[1]})" if inner else first
    return words[:_LONGEST].rstrip(" .")


@contextmanager
def _few_tries() -> Iterator[None]:
    new = {name: value for name, value in _FEW_TRIES.items() if name not in os.environ}
    logger = logging.getLogger(_LOGS_EACH_TRY)
    level = logger.level
    os.environ.update(new)
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in new:
            os.environ.pop(name, None)
