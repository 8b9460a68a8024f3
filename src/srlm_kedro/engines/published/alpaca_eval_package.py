"""The package `alpaca_eval`, kept from changing the process that imports it.

On import it reads a `.env` file into the environment, sets the root logger's level and, where
setuptools is recent, fails for want of `pkg_resources`; at work it logs every request through the
root logger and changes scikit-learn's settings.
"""

import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from srlm_kedro.errors import InputError

if TYPE_CHECKING:
    import alpaca_eval  # noqa: F401  # its version counts (srlm_kedro.freshness.provenance)

_STANDS_IN_FOR = "pkg_resources"
_FOLDER = f"{os.sep}alpaca_eval{os.sep}"


def load(name: str) -> ModuleType:
    """The module `alpaca_eval.<name>`.

    Raises:
        InputError: The package is not installed.
    """
    try:
        # It sets variables of its own, which later users of scikit-learn count on.
        importlib.import_module("sklearn.linear_model")
        with contained(), _stand_in():
            return importlib.import_module(f"alpaca_eval.{name}")
    except ImportError as error:
        raise InputError(
            f"alpaca_eval cannot be imported ({error}). Install it with "
            "`pip install srlm_kedro[alpaca-eval]`, or choose another `alpaca_annotator`."
        ) from error


@contextmanager
def contained() -> Iterator[None]:
    """Within, the package warns and logs nothing; afterwards the process is as it was."""
    environment, root = dict(os.environ), logging.getLogger()
    level = root.level

    def is_no_chatter(record: logging.LogRecord) -> bool:
        # Its messages repeat what a server said, which may hold the key.
        return _FOLDER not in record.pathname

    root.addFilter(is_no_chatter)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(is_no_chatter)
        root.setLevel(level)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def _stand_in() -> Iterator[None]:
    """Gives the package the one function it wants of `pkg_resources`, gone since setuptools 82."""
    if importlib.util.find_spec(_STANDS_IN_FOR) is not None:
        yield
        return
    stand_in = ModuleType(_STANDS_IN_FOR)
    stand_in.get_distribution = importlib.metadata.distribution  # type: ignore[attr-defined]
    sys.modules[_STANDS_IN_FOR] = stand_in
    try:
        yield
    finally:
        del sys.modules[_STANDS_IN_FOR]
