"""What stages pass on: the handle of a model, the examples of training, and derived seeds."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """The handle of a model on disk: engines load the weights and free them."""

    path: Path
    """A Hugging Face folder (config, safetensors, tokenizer)."""
    name: str
    """The model's place in the chain: `m0`, `sft`, `m1`, `m2`, ..."""

    @property
    def iteration(self) -> int:
        """The t of M_t; 0 for M0 and for models outside the chain."""
        digits = self.name.removeprefix("m")
        return int(digits) if digits.isdecimal() else 0


@dataclass(frozen=True)
class Example:
    """One SFT example; only the completion has a loss."""

    prompt: str
    completion: str
    complete: bool = True
    """False: the completion was cut, so no end token follows it."""


@dataclass(frozen=True)
class Preference:
    """One DPO pair: the reward of `chosen` was higher than that of `rejected`."""

    prompt: str
    chosen: str
    rejected: str
    chosen_complete: bool = True
    """False: the chosen text was cut, so no end token follows it."""
    rejected_complete: bool = True
    """False: the rejected text was cut, so no end token follows it."""


@dataclass(frozen=True)
class Criterion:
    """A yes/no question about a response, worth one point of the additive score."""

    kind: str
    """What the question asks for in general, such as `include`; examples are balanced by it."""
    question: str
    wanted: bool = True
    """The answer that gives the point: yes, or no for `Does the response contain a comma?`."""


PromptFault = Literal["no_criteria", "held_out"]
"""Why a rubric refuses a new prompt: its criteria do not fit, or the prompt is for evaluation."""


def draw_sample(items: Sequence[T], limit: int | None, seed: int, label: str) -> list[T]:
    """All items, or a random sample of `limit` of them, in the order in which they are drawn."""
    if limit is None or len(items) <= limit:
        return list(items)
    return random.Random(derive_seed(seed, label)).sample(items, limit)


def derive_seed(seed: int, *labels: str) -> int:
    """A 63-bit seed that depends only on `seed` and the labels, on every machine."""
    text = "\x1f".join([str(seed), *labels])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
