"""Imports and runs the package `alpaca_eval` without its side effects on the process.

On import the package reads a `.env` file into the environment and sets the root logger's level.
With a recent setuptools it fails, because `pkg_resources` is gone. When it runs, it logs every
request through the root logger and changes scikit-learn's settings.
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

_MISSING_MODULE = "pkg_resources"
_FOLDER = f"{os.sep}alpaca_eval{os.sep}"


def load(name: str) -> ModuleType:
    """The module `alpaca_eval.<name>`.

    Raises:
        InputError: The package is not installed.
    """
    try:
        # scikit-learn sets environment variables that its later users need, so it comes first.
        importlib.import_module("sklearn.linear_model")
        with quiet_package(), _pkg_resources():
            return importlib.import_module(f"alpaca_eval.{name}")
    except ImportError as error:
        raise InputError(
            f"alpaca_eval cannot be imported ({error}). Install it with "
            "`pip install srlm_kedro[alpaca-eval]`, or choose another `alpaca_annotator`."
        ) from error


@contextmanager
def quiet_package() -> Iterator[None]:
    """Inside, the package warns and logs nothing. Afterwards the process is as before."""
    environment, root = dict(os.environ), logging.getLogger()
    level = root.level

    def is_from_elsewhere(record: logging.LogRecord) -> bool:
        # The package's messages repeat what a server wrote, which may contain the key.
        return _FOLDER not in record.pathname

    root.addFilter(is_from_elsewhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(is_from_elsewhere)
        root.setLevel(level)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def _pkg_resources() -> Iterator[None]:
    """Gives the package its one function of `pkg_resources`, which setuptools 82 removed."""
    if importlib.util.find_spec(_MISSING_MODULE) is not None:
        yield
        return
    substitute = ModuleType(_MISSING_MODULE)
    substitute.get_distribution = importlib.metadata.distribution  # type: ignore[attr-defined]
    sys.modules[_MISSING_MODULE] = substitute
    try:
        yield
    finally:
        del sys.modules[_MISSING_MODULE]
