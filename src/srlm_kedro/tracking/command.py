"""Which command a run belongs to, so that the same command again goes on with a killed run."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from srlm_kedro.freshness.files import json_digest
from srlm_kedro.tracking.process import held, is_left

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

COMMAND = "srlm.command"
"""The tag that tells which command opened a run."""

running: ContextVar[str] = ContextVar("running", default="")
"""The command at work, as `identity` names it; empty where nobody said which."""

made_before: ContextVar[frozenset[str]] = ContextVar("made_before", default=frozenset())
"""Datasets that the command at work has made outside of the run that is tracked; see `at_work`."""


@contextmanager
def at_work(name: str, folder: str) -> Iterator[None]:
    """Inside, the command of this name is at work.

    Args:
        name: As `identity` gives it.
        folder: The mark of the data folder that it holds for itself; empty if nobody can know.
    """
    values = {running: name, held: folder, made_before: frozenset()}
    tokens = [(variable, variable.set(value)) for variable, value in values.items()]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def identity(**said: Any) -> str:
    """A short name of all that was asked for: pipelines, environment, parameters, filters.

    What is empty was not asked for, however that is written (None, an empty list).
    """
    asked = {name: value for name, value in said.items() if value}
    return json_digest(asked, _plain)[:32]


def unfinished(client: "MlflowClient", experiment: str, command: str) -> str | None:
    """The id of the command's newest run, if that was killed or stopped before its end."""
    if not command:
        return None
    filters = f"tags.`{COMMAND}` = '{command}'"
    newest = client.search_runs(
        [experiment], filters, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return next((run.info.run_id for run in newest if _was_stopped(run)), None)


def _was_stopped(run: "Run") -> bool:
    """A run of a process that may still be at work counts as not stopped."""
    if run.info.status == "RUNNING":
        return is_left(run.data.tags)
    return run.info.status == "KILLED"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else list(value)
