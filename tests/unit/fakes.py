"""A generation engine that says what the test wants."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from srlm_kedro.engines.generation.base import Completion, Request, Sampling
from srlm_kedro.records import Checkpoint

M1 = Checkpoint(Path("m1"), "m1")


class FakeEngine:
    """`say(request, sample)` gives a text, or a `Completion`; every request is remembered."""

    def __init__(self, say: Callable[[Request, int], str | Completion]) -> None:
        self._say = say
        self.requests: list[Request] = []
        self.samplings: list[Sampling] = []
        self.models: list[str] = []

    def generate(
        self, model: Checkpoint, requests: Sequence[Request], sampling: Sampling, seed: int
    ) -> list[list[Completion]]:
        """Rows of what `say` says."""
        self.requests += requests
        self.samplings.append(sampling)
        self.models.append(model.name)
        return [[self._one(request, n) for n in range(sampling.n)] for request in requests]

    def _one(self, request: Request, sample: int) -> Completion:
        said = self._say(request, sample)
        return Completion(said, len(said.split()) + 1, "stop") if isinstance(said, str) else said

    def length_faults(self, model, requests, sampling):
        return [""] * len(requests)

    def release(self):
        pass


class LengthReferee:
    """As many points as words, from 0 again after 5."""

    def assess_all(self, pairs: Sequence[tuple[str, str]]) -> list[Any]:
        """`score` and `reasons` of each."""
        counts = [len(response.split()) % 6 for _, response in pairs]
        return [SimpleNamespace(score=n, reasons=(f"It has {n} words.",)) for n in counts]
