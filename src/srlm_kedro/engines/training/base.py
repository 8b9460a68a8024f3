"""The protocol of the training engines, and what they take and give. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from srlm_kedro.engines.training.params import DpoParams, PretrainParams, SftParams, TuningParams
from srlm_kedro.records import Checkpoint, Example, Preference


@dataclass(frozen=True)
class Document:
    """A text for pretraining, in segments: each with whether it counts in the loss."""

    segments: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Trained:
    """A new checkpoint in a scratch folder, with the log of its training."""

    checkpoint: Checkpoint
    log: list[dict[str, float]] = field(default_factory=list)
    """One dict per logged step: step, loss, learning_rate, grad_norm. DPO adds rewards/accuracies,
    rewards/margins, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, and log_ratio,
    which `DpoParams.max_log_ratio` limits."""
    too_long: int = 0
    """The number of examples or pairs that were left out, see `TuningParams.max_length`."""

    def metrics(self) -> dict[str, float]:
        """The last logged values, as `train/...`."""
        last = self.log[-1]
        return {f"train/{name}": float(value) for name, value in last.items() if name != "step"}


class TrainingEngine(Protocol):
    """Trains a new model. The checkpoint that it starts from is never changed."""

    def pretrain(self, documents: Sequence[Document], params: PretrainParams, seed: int) -> Trained:
        """A model trained from scratch, with a tokenizer of the documents' words.

        The documents are read once, in their order.
        """
        ...

    def sft(
        self, model: Checkpoint, examples: Sequence[Example], params: SftParams, seed: int
    ) -> Trained:
        """`model` fine-tuned on the completions of `examples`."""
        ...

    def dpo(
        self,
        policy: Checkpoint,
        reference: Checkpoint,
        pairs: Sequence[Preference],
        params: DpoParams,
        seed: int,
    ) -> Trained:
        """`policy` trained on pairs by DPO, with `reference` as its reference.

        Schedules in `params` are read at iteration `policy.iteration + 1`.
        """
        ...

    def length_faults(
        self, model: Checkpoint, examples: Sequence[Example], params: TuningParams
    ) -> list[str]:
        """Why each example is too long for training, in tokens; empty if it fits.

        No weights are loaded.
        """
        ...

    def log_probs(self, model: Checkpoint, examples: Sequence[Example]) -> list[float]:
        """The log-probability of each completion after its prompt, in nats, without dropout.

        It is the sum over the completion's tokens. The end token counts unless the completion was
        cut.
        """
        ...
