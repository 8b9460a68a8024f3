"""The two ways in which a run refuses to go on."""

from collections.abc import Sequence

_EXAMPLES = 5


class InputError(ValueError):
    """What the user gave (parameters, seed rows, a checkpoint) breaks a rule; no work was done."""


class GateError(RuntimeError):
    """What the run made breaks a limit; all of it stays on disk for a look."""


def summary(heading: str, faults: Sequence[str]) -> str:
    """One message for all faults of a thing: their number, and five of them at most."""
    shown = [f"  - {fault}" for fault in faults[:_EXAMPLES]]
    hidden = len(faults) - len(shown)
    more = [f"  ... and {hidden} more"] if hidden else []
    return "\n".join([heading, *shown, *more])
