"""The two ways in which a run refuses to go on."""

from collections.abc import Sequence

from srlm_kedro.shown import visible

_EXAMPLES = 5
_LONGEST = 10_000
"""Characters of a message."""


class InputError(ValueError):
    """What the user gave (parameters, seed rows, a checkpoint) breaks a rule; no work was done."""

    def __init__(self, message: str) -> None:
        """What a file or a server said steers no terminal."""
        super().__init__(visible(message, _LONGEST))


class GateError(RuntimeError):
    """What the run made breaks a limit; all of it stays on disk for a look."""

    def __init__(self, message: str) -> None:
        """What a model said steers no terminal."""
        super().__init__(visible(message, _LONGEST))


def summary(heading: str, faults: Sequence[str]) -> str:
    """One message for all faults of a thing: their number, and five of them at most."""
    shown = [f"  - {fault}" for fault in faults[:_EXAMPLES]]
    hidden = len(faults) - len(shown)
    more = [f"  ... and {hidden} more"] if hidden else []
    return "\n".join([heading, *shown, *more])
