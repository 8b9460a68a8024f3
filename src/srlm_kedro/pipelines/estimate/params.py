"""The parameters `estimate`, which change no run, and the figures that an estimate assumes."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from srlm_kedro.errors import InputError
from srlm_kedro.params import MAX_COUNT, MAX_TOKENS, Params, Schedule
from srlm_kedro.pipelines.estimate.devices import DEVICES, device_named
from srlm_kedro.pipelines.loop import LoopParams

_SomeShare = Annotated[float, Field(gt=0, le=1)]


class SizeParams(Params):
    """The size of a model that is not on this disk.

    Llama 2 70B in the order below: hub:meta-llama/Llama-2-70b-hf, 69e9, 80, 8192, 1024, 32000.
    """

    name: str | None = None
    """The model of this size: M0 as the catalog's `m0_size` names it, a folder or `hub:owner/name`.
    The size is used for no other model. The microworld's M0 needs no name."""
    parameters: float = Field(gt=0, le=1e15)
    """Number of weights."""
    layers: int = Field(ge=1, le=100_000)
    """Number of layers."""
    hidden_size: int = Field(ge=1, le=MAX_COUNT)
    """Width of a layer."""
    kv_size: int = Field(ge=1, le=MAX_COUNT)
    """Width of the keys: number of key-value heads times the width of one."""
    vocabulary: int = Field(ge=1, le=MAX_COUNT)
    """Number of tokens in the vocabulary."""


class EstimateParams(Params):
    """The device on which the loop is to run, and figures to plan with."""

    device: str = "two_cpu_cores"
    """One of `estimate.devices.DEVICES`: two_cpu_cores or cpu (this machine and its memory, at the
    rates of two cores), a100_80gb, h100_80gb, h200. `auto`: the GPUs, or else the CPU, that the
    run would use."""
    devices: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = 1
    """Number of devices. The estimate spreads work and weights over them evenly, without loss. A
    CPU is one machine. `auto`: as many as the run would use."""
    model: SizeParams | None = None
    """M0's size if M0 is not on this disk; files on the disk come first. None in the microworld:
    the size that `pretraining` will make."""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    """Type of the weights in sampling, and of the weights that an adapter leaves frozen in
    training. `auto` is what the engines choose: float32 on a CPU, bfloat16 elsewhere."""
    checkpoint_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights on disk; the trainers write float32."""
    rows: int = Field(256, ge=1, le=MAX_COUNT)
    """Completions that are sampled at once; the engine's `max_rows`."""
    shares_prefixes: bool = True
    """True: the engine computes what prompts have in common once. Set it to false for a server that
    does not."""
    activation_checkpointing: bool = False
    """True: training computes activations twice, to save memory."""

    tokens_per_word: float | None = Field(None, gt=0, le=1000)
    """Tokens per word; marks and newlines count as words. None, here and below: a figure
    measured on the microworld, or one assumed for English where `loop.world` is `given`."""
    written_tokens: float | None = Field(None, gt=0, le=MAX_TOKENS)
    """Tokens per written prompt, refused ones included."""
    response_growth: float | None = Field(None, gt=0, le=1000)
    """Factor by which responses grow from one model to the next; M1's are as long as IFT's."""
    judgement_tokens: float | None = Field(None, gt=0, le=MAX_TOKENS)
    """Tokens per judgement, its end token included."""
    accepted_share: Schedule[_SomeShare] | None = None
    """Share of the written prompts that the filters accept. A list has the values of M2, M3, ...;
    the last one repeats."""
    pair_yield: Schedule[_SomeShare] | None = None
    """Pairs per prompt. A list has the values of M2, M3, ...; the last one repeats."""
    kept_share: float | None = Field(None, gt=0, le=1)
    """Share of the baseline's judgements of EFT that become examples."""

    @field_validator("device")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in ("auto", *DEVICES):
            raise ValueError(f"no such device; known are auto, {', '.join(DEVICES)}")
        return name

    def on(self, machine: Mapping[str, float | str]) -> "EstimateParams":
        """The parameters with what `auto` stands for.

        Args:
            machine: The figures of `MachineDataset`.

        Raises:
            InputError: The GPUs have a name that the table of devices lacks.
        """
        gpus, gpu = int(machine.get("gpus", 0)), str(machine.get("gpu", ""))
        device = self.device
        if device == "auto":
            device = device_named(gpu) if gpus else "cpu"
        if device is None:
            raise InputError(
                f"estimate: nothing is known of the {gpus} GPUs {gpu!r}. Set `estimate.device` to "
                f"one of {', '.join(DEVICES)}, or add them to "
                "src/srlm_kedro/pipelines/estimate/devices.py."
            )
        devices = self.devices
        if devices == "auto":
            devices = 1 if DEVICES[device].memory is None else max(gpus, 1)
        return self.model_copy(update={"device": device, "devices": devices})

    @property
    def width(self) -> int:
        """Bytes of a number in `dtype`."""
        on_cpu = DEVICES[self.device].memory is None
        return 4 if self.dtype == "float32" or (self.dtype == "auto" and on_cpu) else 2

    @model_validator(mode="after")
    def _is_one_machine(self) -> Self:
        several = self.devices != "auto" and self.devices > 1
        if several and self.device != "auto" and DEVICES[self.device].memory is None:
            raise ValueError(f"{self.device} is this machine: `devices` is 1, not {self.devices}")
        return self


class Expected(Params):
    """Figures that are unknown before a run; `EstimateParams` explains each of them."""

    tokens_per_word: float = Field(gt=0, le=1000)
    written_tokens: float | None = Field(gt=0, le=MAX_TOKENS)
    """None: as long as IFT prompts."""
    response_growth: float = Field(gt=0, le=1000)
    judgement_tokens: float = Field(gt=0, le=MAX_TOKENS)
    accepted_share: Schedule[_SomeShare]
    pair_yield: Schedule[_SomeShare]
    kept_share: _SomeShare


MICROWORLD = Expected(
    tokens_per_word=1.0,  # its tokenizer splits a text into words and marks
    written_tokens=10,  # measured: 9.7 to 10.2
    response_growth=1.09,  # measured: 11.7, 12.8, 13.8 tokens on held-out prompts
    judgement_tokens=36.4,  # measured: 35.1 to 36.8
    accepted_share=(0.16, 0.07),  # measured over seeds: .14 to .19, then .06 to .08
    pair_yield=(0.84, 0.71),  # measured over seeds: .80 to .92, then .63 to .79
    kept_share=0.85,  # measured: .82 to .87
)
"""Measured on default runs."""

ENGLISH = Expected(
    tokens_per_word=1.05,  # OASST: 1.35 BPE tokens per 1.28 words and marks
    written_tokens=None,
    response_growth=1.5,  # paper: AlpacaEval's answers have 1092, 1552, 2552 characters
    judgement_tokens=135,  # the judge prompt asks for 100 words at most
    accepted_share=(0.6,),  # assumed: one in seven is a duplicate, a few more are too similar
    pair_yield=(0.55,),  # public 7B runs
    kept_share=0.55,  # assumed: half agree with people, and thinning drops some of them
)
"""Assumed, or taken from the paper, for models of natural language."""


def expected(loop: LoopParams, estimate: EstimateParams) -> Expected:
    """The figures for the loop's world, with those that the user sets in place of ours."""
    world = MICROWORLD if loop.world == "microworld" else ENGLISH
    given = {name: getattr(estimate, name) for name in Expected.model_fields}
    return world.model_copy(update={name: v for name, v in given.items() if v is not None})
