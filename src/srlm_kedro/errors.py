"""The two ways in which a run refuses to go on."""

import os
import sys
from collections.abc import Sequence

from srlm_kedro.display.safe_text import escaped

SHOWN = "SRLM_FAULTS"
"""The variable that says how many faults of a thing a message shows: a number, or `all`."""
_EXAMPLES = 5
"""How many where it is not set."""
_LONGEST = 10_000
"""Characters of a message, unless all of it was asked for."""


class InputError(ValueError):
    """What the user gave (parameters, seed rows, a checkpoint) breaks a rule; no work was done."""

    def __init__(self, message: str) -> None:
        """What a file or a server said steers no terminal."""
        super().__init__(escaped(message, _longest()))


class GateError(RuntimeError):
    """What the run made breaks a limit; all of it stays on disk for a look."""

    def __init__(self, message: str) -> None:
        """What a model said steers no terminal."""
        super().__init__(escaped(message, _longest()))


def summary(heading: str, faults: Sequence[str]) -> str:
    """One message for all faults of a thing: five of them, or as many as `SRLM_FAULTS` says.

    Where some are hidden it tells how many there are in all, and how to see the rest.
    """
    shown = [f"  - {fault}" for fault in faults[: _examples()]]
    hidden = len(faults) - len(shown)
    way = f"{SHOWN}=all before the same command shows all {len(faults)}"
    more = [f"  ... and {hidden} more ({way})"] if hidden else []
    return "\n".join([heading, *shown, *more])


def _examples() -> int:
    """How many faults are shown; what is no number counts as not set."""
    asked = os.environ.get(SHOWN, "").strip().lower()
    if asked == "all":
        return sys.maxsize
    return max(1, int(asked)) if asked.isdecimal() else _EXAMPLES


def _longest() -> int:
    return _LONGEST if _examples() <= _EXAMPLES else sys.maxsize
