"""What each thread of a run keeps for itself."""

import threading
from typing import Any


class Own(threading.local):
    """A list that every thread finds as it left it, empty at first."""

    def __init__(self) -> None:
        """Called once a thread, by its first use."""
        self.held: list[Any] = []
