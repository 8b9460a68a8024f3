"""Knobs of the estimate; none of them changes a run."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from srlm_kedro.params import MANY, TOKENS, Params, Schedule
from srlm_kedro.pipelines.estimate.devices import DEVICES

SomeShare = Annotated[float, Field(gt=0, le=1)]


class SizeParams(Params):
    """A model's size, for one that does not lie on this disk.

    Llama 2 70B in the order below: hub:meta-llama/Llama-2-70b-hf, 69e9, 80, 8192, 1024, 32000.
    """

    name: str | None = None
    """Whose size it is: M0 as the catalog's `m0_size` names it, a folder or `hub:owner/name`. It
    counts for no other model. The microworld's needs no name."""
    parameters: float = Field(gt=0, le=1e15)
    layers: int = Field(ge=1, le=100_000)
    hidden_size: int = Field(ge=1, le=MANY)
    """Width."""
    kv_size: int = Field(ge=1, le=MANY)
    """Width of the keys: key-value heads times their width."""
    vocabulary: int = Field(ge=1, le=MANY)
    """Tokens."""


class EstimateParams(Params):
    """On what the loop is to run, and what is expected of it."""

    device: str = "two_cpu_cores"
    """One of `estimate.devices.DEVICES`: two_cpu_cores, a100_80gb, h100_80gb, h200."""
    devices: int = Field(1, ge=1, le=1_000_000)
    """How many; work and weights are taken to spread over them evenly, without loss. A CPU is one
    machine."""
    model: SizeParams | None = None
    """M0's size, where it does not lie on this disk: files that are there count first. None: in the
    microworld, what `pretraining` will make."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of the weights while drawing, and of those that an adapter leaves frozen in training. `auto`
    is what the engines' is: float32 on a CPU, bfloat16 elsewhere."""
    checkpoint_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights on disk; the trainers write float32."""
    rows: int = Field(256, ge=1, le=MANY)
    """Completions drawn at once; the engine's `max_rows`."""
    shares_prefixes: bool = True
    """The engine reads what prompts have in common once. False for a server that does not."""
    activation_checkpointing: bool = False
    """Activations are computed twice in training, to save memory."""

    tokens_per_word: float | None = Field(None, gt=0, le=1000)
    """This and what follows: in place of `estimate.expected`, see there."""
    written_tokens: float | None = Field(None, gt=0, le=TOKENS)
    response_growth: float | None = Field(None, gt=0, le=1000)
    judgement_tokens: float | None = Field(None, gt=0, le=TOKENS)
    accepted_share: Schedule[SomeShare] | None = None
    pair_yield: Schedule[SomeShare] | None = None
    kept_share: float | None = Field(None, gt=0, le=1)

    @field_validator("device")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DEVICES:
            raise ValueError(f"no such device; known are {', '.join(DEVICES)}")
        return name

    @property
    def width(self) -> int:
        """Bytes of a number in `dtype`."""
        on_cpu = DEVICES[self.device].memory is None
        return 4 if self.dtype == "float32" or (self.dtype == "auto" and on_cpu) else 2

    @model_validator(mode="after")
    def _one_machine(self) -> Self:
        if self.devices > 1 and DEVICES[self.device].memory is None:
            raise ValueError(f"{self.device} is this machine: `devices` is 1, not {self.devices}")
        return self
