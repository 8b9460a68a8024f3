"""What travels between stages: the handle of a model, the examples of training, the ids."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk, by path only; weights are loaded by engines and die with them."""

    path: Path
    """A Hugging Face folder (config, safetensors, tokenizer)."""
    name: str
    """Its place in the chain: `m0`, `sft`, `m1`, `m2`, ..."""

    @property
    def iteration(self) -> int:
        """The t of M_t; 0 for M0 and for models outside the chain."""
        digits = self.name.removeprefix("m")
        return int(digits) if digits.isdecimal() else 0


@dataclass(frozen=True)
class Example:
    """One SFT example; loss falls on the completion alone."""

    prompt: str
    completion: str
    complete: bool = True
    """False: the completion was cut, and no end token follows it."""


@dataclass(frozen=True)
class Preference:
    """One DPO pair: `chosen` was rewarded above `rejected`."""

    prompt: str
    chosen: str
    rejected: str
    chosen_complete: bool = True
    """False: the text was cut, and no end token follows it."""
    rejected_complete: bool = True
    """The same of the rejected one."""


def drawn(items: Sequence[T], limit: int | None, seed: int, label: str) -> list[T]:
    """All items, or `limit` of them that the seed draws, in the order of the draw."""
    if limit is None or len(items) <= limit:
        return list(items)
    return random.Random(derive_seed(seed, label)).sample(items, limit)


def derive_seed(seed: int, *labels: str) -> int:
    """A 63-bit seed that depends on `seed` and the labels alone, on every machine."""
    text = "\x1f".join([str(seed), *labels])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
