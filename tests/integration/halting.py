"""A scripted engine that comes to a halt in the middle of a run, once."""

import os
import signal
import time
from pathlib import Path

from srlm_kedro.engines.generation.scripted import ScriptedEngine


class HaltingEngine(ScriptedEngine):
    """At its call number `at`: waits to be stopped (`how: wait`), or kills its process (`kill`).

    It leaves the file `mark`, and where that file is there it goes on as scripted.
    """

    calls = 0

    def __init__(self, mark: str, at: int = 1, how: str = "wait") -> None:
        super().__init__()
        self._mark, self._at, self._how = Path(mark), at, how

    def generate(self, model, requests, sampling, seed):
        type(self).calls += 1
        if self.calls == self._at and not self._mark.exists():
            self._mark.touch()
            if self._how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return super().generate(model, requests, sampling, seed)
