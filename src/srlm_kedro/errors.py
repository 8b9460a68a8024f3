"""The two errors with which a run refuses to go on."""

import os
import sys
from collections.abc import Mapping, Sequence

from srlm_kedro.display.safe_text import escaped

FAULTS_VARIABLE = "SRLM_FAULTS"
"""The environment variable that says how many faults a message shows: a number, or `all`."""
_EXAMPLES = 5
"""How many it shows if the variable is not set."""
_LONGEST = 10_000
"""Characters of a message, unless the variable asks for more faults."""


class InputError(ValueError):
    """An input (parameters, seed rows, a checkpoint) breaks a rule; no work was done."""

    def __init__(self, message: str) -> None:
        """The message is escaped, because it can quote a file or a server."""
        super().__init__(escaped(message, _longest()))


class GateError(RuntimeError):
    """An output of the run breaks a limit; all outputs stay on disk."""

    def __init__(self, message: str) -> None:
        """The message is escaped, because it can quote a model."""
        super().__init__(escaped(message, _longest()))


def summary(heading: str, faults: Sequence[str]) -> str:
    """One message for all faults: it shows five, or as many as `SRLM_FAULTS` says.

    If it hides some, it says how many there are and how to see the rest.
    """
    shown = [f"  - {fault}" for fault in faults[: _examples()]]
    hidden = len(faults) - len(shown)
    advice = f"{FAULTS_VARIABLE}=all before the same command shows all {len(faults)}"
    more = [f"  ... and {hidden} more ({advice})"] if hidden else []
    return "\n".join([heading, *shown, *more])


def counted(reasons: Mapping[str, int], meanings: Mapping[str, str]) -> str:
    """Counts by reason in words, the commonest first: `20 cut_off (they were cut), 3 empty`.

    Args:
        reasons: How often each occurs; those that do not are left out.
        meanings: What a reason means, where its name does not say it.
    """
    found = sorted((item for item in reasons.items() if item[1]), key=lambda item: -item[1])
    words = [
        f"{count} {name} ({meanings[name]})" if name in meanings else f"{count} {name}"
        for name, count in found
    ]
    return ", ".join(words) or "none"


def _examples() -> int:
    """How many faults to show; a value that is no number counts as not set."""
    asked = os.environ.get(FAULTS_VARIABLE, "").strip().lower()
    if asked == "all":
        return sys.maxsize
    return max(1, int(asked)) if asked.isdecimal() else _EXAMPLES


def _longest() -> int:
    return _LONGEST if _examples() <= _EXAMPLES else sys.maxsize
