"""The parameters of every training: pretraining, SFT, DPO and adapters. Imports nothing heavy."""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from srlm_kedro.errors import GateError, summary
from srlm_kedro.params import LIMIT, MAX_TOKENS, RESOURCE, Params, Schedule, Share, at

FEW_STEPS = 20
"""A training of fewer steps than this hardly changes a model."""
_MICRO_BATCH = 16
_Rate = Annotated[float, Field(gt=0, le=1)]


class LoraParams(Params):
    """A low-rank adapter on frozen weights. Deviation: the paper trains all weights."""

    rank: int = Field(16, ge=1, le=100_000)
    """Width of the adapter's two matrices."""
    alpha: float = Field(32, gt=0, le=1e6)
    """The adapter's product is multiplied by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input. The base model's own is `sft.dropout` or `dpo.dropout`."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Names of the layers that get an adapter. `all-linear` is every linear layer except the output
    layer."""
    keep: Literal["merged", "adapter"] = "merged"
    """`merged`: M_t is an ordinary checkpoint, and the next iteration trains a new adapter on it.
    `adapter`: M_t's folder holds only the adapter and the path of its base, and the next iteration
    goes on training it."""
    quantise: Literal["4bit"] | None = None
    """`4bit`: the frozen weights are in nf4 during training (QLoRA; needs bitsandbytes). M_t is the
    adapter on the unquantised base."""

    @field_validator("target_modules")
    @classmethod
    def _no_outer_layers(cls, names: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not names or {"lm_head", "embed_tokens"} & set(names):
            raise ValueError(
                "name at least one layer, and neither lm_head nor embed_tokens: training reads "
                "the weights of the output layer directly, so an adapter there has no effect"
            )
        return names


class TuningParams(Params):
    """The parameters that SFT and DPO share. Paper: section 3.1, unless a field says otherwise."""

    GROUP: ClassVar[str]
    """Their name among the parameters."""
    ROWS: ClassVar[str]
    """What they are trained on, in the plural."""

    batch_size: int = Field(16, ge=1, le=1_000_000)
    """Examples or pairs per step (paper: 16)."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of activations that training sets to 0. Paper: 0.1 (in DPO too, where TRL turns it off
    unless told)."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which the rate rises (paper: not stated)."""
    weight_decay: float = Field(0.0, ge=0, le=100)
    """Weight decay of AdamW (paper: not stated)."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e9)
    """Longer gradients are scaled down to this norm (paper: not stated)."""
    max_length: int = Field(2048, ge=2, le=MAX_TOKENS)
    """Longest prompt + completion in tokens, end token included (paper: not stated). Longer rows
    are left out and counted. Seed data that is longer is refused before the first training."""
    max_too_long: Annotated[float, LIMIT] = Field(0.1, ge=0, le=1)
    """The run stops if a larger share of the examples or pairs is longer than the model or
    `max_length` allows."""
    micro_batch_size: Annotated[int, RESOURCE] = Field(
        default_factory=lambda given: _largest_divisor(given["batch_size"], _MICRO_BATCH),
        ge=1,
        le=1_000_000,
    )
    """Examples or pairs held in memory at once; `batch_size` must be a multiple of it. The default
    is the largest divisor of `batch_size` up to 16. With dropout another value draws other masks:
    the distribution is the same, the bits are not."""
    lora: LoraParams | None = None
    """An adapter (LoRA). None: all weights are trained, as in the paper."""

    def steps(self, rows: float) -> int:
        """How many steps a training on so many examples or pairs has, in all epochs."""
        return math.ceil(max(1, round(rows * self.epochs)) / self.batch_size)

    def too_few_steps(self, rows: float) -> str:
        """What to say of a training on so many rows with few steps; empty if it has enough."""
        steps = self.steps(rows)
        if steps >= FEW_STEPS:
            return ""
        return (
            f"{steps} optimizer step{'s' * (steps != 1)} can hardly teach a model anything (fewer "
            f"than {FEW_STEPS}). Give more {self.ROWS}, lower `{self.GROUP}.batch_size` (now "
            f"{self.batch_size}), or raise `{self.GROUP}.epochs` (now {self.epochs:g}) and "
            f"`{self.GROUP}.learning_rate`."
        )

    def refuse_beyond_limits(
        self, model: str, left_out: float, used: float, further: Sequence[str] = ()
    ) -> None:
        """Checks a finished training again, because the limits may be tighter now.

        Args:
            model: The name of the trained model.
            left_out: The number of examples or pairs that were too long.
            used: The number of examples or pairs in the training.
            further: Other limits that the training breaks, one line each.

        Raises:
            GateError: The training breaks a limit of today.
        """
        faults, share = list(further), left_out / (left_out + used)
        if share > self.max_too_long:
            too_long = (
                f"{left_out:g} of {left_out + used:g} examples or pairs were too long, {share:.1%} "
                f"(limit `max_too_long` = {self.max_too_long:g}). Raise `max_length` or the limit"
            )
            faults.insert(0, too_long)
        if faults:
            raise GateError(summary(f"{model} was trained beyond a limit:", faults))

    def contradictions(self) -> list[str]:
        """The settings that contradict each other, one line each."""
        if self.batch_size % self.micro_batch_size == 0:
            return []
        return [
            f"batch_size = {self.batch_size} is no multiple of micro_batch_size = "
            f"{self.micro_batch_size}"
        ]

    @model_validator(mode="after")
    def _without_contradictions(self) -> Self:
        if faults := self.contradictions():
            raise ValueError("; ".join(faults))
        return self


class SftParams(TuningParams):
    """Supervised fine-tuning. Paper: section 3.1."""

    GROUP, ROWS = "sft", "examples"

    learning_rate: float = Field(5.5e-6, gt=0, le=1)
    """Peak learning rate (paper: 5.5e-6)."""
    min_learning_rate: float = Field(
        default_factory=lambda given: min(1.1e-6, given["learning_rate"]), ge=0, le=1
    )
    """Learning rate at the end of the cosine (paper: 1.1e-6). The default is no higher than the
    peak."""
    epochs: float = Field(3, gt=0, le=10_000)
    """Passes over the examples (paper: not stated)."""
    weighting: Literal["token", "example"] = "token"
    """What counts equally in a step (paper: not stated). `token`: each token of a completion, TRL's
    rule. `example`: each example, whatever its length, so that a response does not outweigh the
    single token that answers a criterion (`loop.judge_form: criteria`)."""

    def contradictions(self) -> list[str]:
        """The settings that contradict each other, one line each."""
        rates = _rates_that_rise((self.min_learning_rate,), (self.learning_rate,))
        return super().contradictions() + rates


class DpoParams(TuningParams):
    """Direct preference optimisation. Paper: section 3.1."""

    GROUP, ROWS = "dpo", "pairs"

    learning_rate: Schedule[_Rate] = (1e-6,)
    """Peak learning rate (paper: 1e-6)."""
    min_learning_rate: Schedule[Share] = Field(
        default_factory=lambda given: tuple(min(1e-7, rate) for rate in given["learning_rate"])
    )
    """Learning rate at the end of the cosine (paper: 1e-7). The default is no higher than the
    peak."""
    beta: Schedule[Annotated[float, Field(gt=0, le=1000)]] = (0.1,)
    """How strongly the reference holds the policy (paper: 0.1)."""
    epochs: float = Field(1, gt=0, le=10_000)
    """Passes over the pairs (paper: not stated)."""
    nll_weight: float = Field(0.0, ge=0, le=1000)
    """Weight of the chosen response's negative log-likelihood per token, which is added to the
    loss. Paper: 0. Source: Iterative RPO (2404.19733), which takes 1."""
    length_normalised: bool = False
    """Compares log-ratios per token in place of their sums; `beta` must then be many times larger.
    Paper: no. Source: Tulu 3 (2411.15124), with beta 5."""
    ld_alpha: float | None = Field(None, ge=0, le=1)
    """One response of a pair is longer than the other: this share of its further tokens counts.
    None counts all. Paper: None. Source: LD-DPO (2409.06411)."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Weight of the opposite order of a pair, which is the chance that the order is wrong. From 0.5
    on the rejected response would be learnt. Paper: 0. Source: conservative DPO; CREAM (2410.12735)
    sets it by the agreement of two models."""
    max_log_ratio: Annotated[float, LIMIT] = Field(5.0, gt=0, le=1e6)
    """Stops a training that runs away: the limit of |log(policy / reference)| per token, in nats,
    as a mean over a step's responses. Ours; the paper states no such limit."""

    def contradictions(self) -> list[str]:
        """The settings that contradict each other, one line each."""
        others = {"ld_alpha": self.ld_alpha is not None, "label_smoothing": self.label_smoothing}
        found = [name for name in others if self.length_normalised and others[name]]
        return [
            *super().contradictions(),
            *_rates_that_rise(self.min_learning_rate, self.learning_rate),
            *(
                f"length_normalised and {name} = {getattr(self, name)} exclude each other; drop one"
                for name in found
            ),
        ]


def _rates_that_rise(ends: tuple[float, ...], peaks: tuple[float, ...]) -> list[str]:
    """A line for each iteration's pair of rates whose minimum is above its peak."""
    iterations = range(2, 2 + max(len(ends), len(peaks)))
    rates = dict.fromkeys((at(ends, t), at(peaks, t)) for t in iterations)
    return [
        f"min_learning_rate = {end} is above learning_rate = {peak}; lower it too, or leave it out"
        for end, peak in rates
        if end > peak
    ]


def _largest_divisor(of: int, most: int) -> int:
    return next(number for number in range(min(of, most), 0, -1) if of % number == 0)


class PretrainParams(Params):
    """A small Llama trained from scratch. Not in the paper, which starts from Llama 2 70B."""

    hidden_size: int = Field(128, ge=8, le=1_000_000)
    """Width of the model."""
    layers: int = Field(4, ge=1, le=100_000)
    """Transformer blocks."""
    heads: int = Field(4, ge=1, le=1_000_000)
    """Attention heads. `hidden_size` must be a multiple of this number."""
    mlp_size: int = Field(336, ge=8, le=10_000_000)
    """Inner width of the feed-forward blocks."""
    positions: int = Field(512, ge=16, le=MAX_TOKENS)
    """The longest text that the model can see, in tokens."""
    row_length: int = Field(256, ge=16, le=MAX_TOKENS)
    """Tokens per row. Several documents are packed into a row, and none sees another."""
    batch_size: int = Field(4, ge=1, le=1_000_000)
    """Rows per step. There is one pass over the documents, so they decide the number of steps."""
    matrix_learning_rate: float = Field(0.006, gt=0, le=1)
    """Peak learning rate of Muon, which trains the matrices."""
    learning_rate: float = Field(5e-3, gt=0, le=1)
    """Peak learning rate of AdamW, which trains embeddings and norms."""
    course: tuple[tuple[Share, Share], ...] = (
        (0.0, 0.0),
        (0.02, 1.0),
        (0.12, 1.0),
        (0.3, 0.3),
        (1.0, 0.02),
    )
    """The learning rates over time, as points with straight lines between them: share of the steps,
    share of the peak. The model learns small differences (does a word occur twice?) only after the
    rates have fallen."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e9)
    """Longer gradients are scaled down to this norm."""

    @field_validator("course")
    @classmethod
    def _from_start_to_end(
        cls, course: tuple[tuple[float, float], ...]
    ) -> tuple[tuple[float, float], ...]:
        shares = [share for share, _ in course]
        if shares != sorted(set(shares)) or not shares or (shares[0], shares[-1]) != (0, 1):
            raise ValueError("name shares of the steps from 0 to 1, each larger than the last")
        return course

    @model_validator(mode="after")
    def _heads_of_equal_width(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is no multiple of heads = {self.heads}"
            )
        return self
