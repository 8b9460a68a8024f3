"""Texts measured in a model's tokens, and what is said of those that are too long."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from srlm_kedro.engines.generation.base import GenerationEngine, Request, Sampling
from srlm_kedro.engines.training.base import TrainingEngine
from srlm_kedro.engines.training.params import TuningParams
from srlm_kedro.errors import summary
from srlm_kedro.records import Checkpoint, Example


@dataclass(frozen=True)
class Ruler:
    """Measures texts in M0's tokens and chat format."""

    base: Checkpoint
    training_engine: TrainingEngine
    generation_engine: GenerationEngine

    def training_faults(self, examples: Sequence[Example], params: TuningParams) -> list[str]:
        """Why each example cannot be trained on; empty if it can."""
        return self.training_engine.length_faults(self.base, examples, params)

    def prompt_faults(
        self, texts: Iterable[str], sampling: Sampling, chat: bool = True
    ) -> list[str]:
        """Why each text leaves no room for a completion; empty if it does."""
        requests = [Request(str(place), text, chat) for place, text in enumerate(texts)]
        return self.generation_engine.length_faults(self.base, requests, sampling)


@dataclass(frozen=True)
class Check:
    """What was found for one kind of text."""

    rule: str
    """What is wrong with the texts, and what to change."""
    names: Sequence[str]
    faults: Sequence[str]
    """One for each name; empty if the text fits."""
    allowed: float = 0.0
    """Share of the texts that may be too long."""

    @property
    def lines(self) -> list[str]:
        """One for each text that is too long."""
        named = zip(self.names, self.faults, strict=True)
        return [f"{name}: {fault}" for name, fault in named if fault]

    @property
    def is_broken(self) -> bool:
        """Whether more texts are too long than may be."""
        return len(self.lines) > self.allowed * len(self.faults)

    @property
    def message(self) -> str:
        """The rule, how many texts break it, and the first of these."""
        return summary(f"{len(self.lines)} of {len(self.faults)} {self.rule}", self.lines)
