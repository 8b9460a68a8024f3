"""`python -m srlm_kedro`: runs the installed package in a folder with `conf/` and data."""

import sys
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project

_PACKAGE = "srlm_kedro"


def main(*arguments: Any, **options: Any) -> Any:
    """`kedro run` with its options, without Kedro's other commands.

    In a notebook it returns the result and does not end the process; managed notebooks start jobs
    this way.
    """
    configure_project(_PACKAGE)
    options.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    return find_run_command(_PACKAGE)(*arguments, **options)


if __name__ == "__main__":
    main()
