"""The protocol of every trainer. Imports nothing heavy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, field_validator, model_validator

from srlm_kedro.errors import GateError, summary
from srlm_kedro.params import LIMIT, RESOURCE, TOKENS, Params, Schedule, Share, at
from srlm_kedro.records import Checkpoint, Example, Preference

_MICRO_BATCH = 16
_Rate = Annotated[float, Field(gt=0, le=1)]


class LoraParams(Params):
    """A low-rank adapter learnt beside frozen weights. Deviation: the paper trains all weights."""

    rank: int = Field(16, ge=1, le=100_000)
    """Width of the adapter's two matrices."""
    alpha: float = Field(32, gt=0, le=1e6)
    """The adapter's product is multiplied by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """On the adapter's input; the base model's own dropout is `TuningParams.dropout`."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Names of the layers that get one; `all-linear` is every linear layer but the output's."""
    keep: Literal["merged", "adapter"] = "merged"
    """`merged`: M_t is an ordinary checkpoint, and the next iteration trains a new adapter on it.
    `adapter`: M_t's folder holds only the adapter and the path of its base, and the next iteration
    goes on training it."""
    quantise: Literal["4bit"] | None = None
    """`4bit`: the frozen weights are held in nf4 while training (QLoRA; needs bitsandbytes). M_t
    is the adapter on the unquantised base."""

    @field_validator("target_modules")
    @classmethod
    def _some_inner_layers(cls, names: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not names or {"lm_head", "embed_tokens"} & set(names):
            raise ValueError(
                "name at least one layer, and neither lm_head nor embed_tokens: training reads "
                "the output layer's own weights and would pass by an adapter there"
            )
        return names


class TuningParams(Params):
    """What SFT and DPO share. Paper: section 3.1; what it leaves open is marked."""

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
    max_length: int = Field(2048, ge=2, le=TOKENS)
    """Longest prompt + completion in tokens, end token included (paper: not stated). Longer ones
    are left out and counted; seed data that is longer is refused before the first training."""
    max_too_long: Annotated[float, LIMIT] = Field(0.1, ge=0, le=1)
    """The run stops when a larger share of what is to be learnt is longer than the model or
    `max_length` takes."""
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

    def refuse_beyond_limits(
        self, model: str, left_out: float, used: float, further: Sequence[str] = ()
    ) -> None:
        """Asks the limits of a training that is done: they may have been tightened since.

        Args:
            model: The name of what was trained.
            left_out: Examples or pairs that were too long.
            used: Those that were learnt.
            further: Other limits that it breaks, one line each.

        Raises:
            GateError: It breaks a limit of today.
        """
        faults, share = [], left_out / (left_out + used)
        if share > self.max_too_long:
            faults.append(
                f"{left_out:g} of {left_out + used:g} examples or pairs were too long, {share:.1%} "
                f"(limit `max_too_long` = {self.max_too_long:g}). Raise `max_length` or the limit"
            )
        faults += further
        if faults:
            raise GateError(summary(f"{model} was trained beyond a limit:", faults))

    def contradictions(self) -> list[str]:
        """What of the settings cannot stand together, one line each."""
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

    learning_rate: float = Field(5.5e-6, gt=0, le=1)
    """Peak learning rate (paper: 5.5e-6)."""
    min_learning_rate: float = Field(
        default_factory=lambda given: min(1.1e-6, given["learning_rate"]), ge=0, le=1
    )
    """Learning rate at the end of the cosine (paper: 1.1e-6). The default is no higher than the
    peak."""
    epochs: float = Field(3, gt=0, le=10_000)
    """Passes over the examples (paper: not stated)."""

    def contradictions(self) -> list[str]:
        """What of the settings cannot stand together, one line each."""
        rates = _rising((self.min_learning_rate,), (self.learning_rate,))
        return super().contradictions() + rates


class DpoParams(TuningParams):
    """Direct preference optimisation. Paper: section 3.1."""

    learning_rate: Schedule[_Rate] = (1e-6,)
    """Peak learning rate (paper: 1e-6)."""
    min_learning_rate: Schedule[Share] = Field(
        default_factory=lambda given: tuple(min(1e-7, rate) for rate in given["learning_rate"])
    )
    """Learning rate at the end of the cosine (paper: 1e-7). The default is no higher than the
    peak."""
    beta: Schedule[Annotated[float, Field(gt=0, le=1000)]] = (0.1,)
    """Strength of the pull to the reference (paper: 0.1)."""
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
        """What of the settings cannot stand together, one line each."""
        others = {"ld_alpha": self.ld_alpha is not None, "label_smoothing": self.label_smoothing}
        found = [name for name in others if self.length_normalised and others[name]]
        return [
            *super().contradictions(),
            *_rising(self.min_learning_rate, self.learning_rate),
            *(
                f"length_normalised and {name} = {getattr(self, name)} exclude each other; drop one"
                for name in found
            ),
        ]


def _rising(ends: tuple[float, ...], peaks: tuple[float, ...]) -> list[str]:
    """What is wrong where a rate would rise to its minimum, in any iteration."""
    made = range(2, 2 + max(len(ends), len(peaks)))
    courses = dict.fromkeys((at(ends, t), at(peaks, t)) for t in made)
    return [
        f"min_learning_rate = {end} is above learning_rate = {peak}; lower it too, or leave it out"
        for end, peak in courses
        if end > peak
    ]


def _largest_divisor(of: int, most: int) -> int:
    return next(number for number in range(min(of, most), 0, -1) if of % number == 0)


@dataclass(frozen=True)
class Document:
    """A text to learn from nothing, in pieces: each with whether loss falls on it."""

    segments: tuple[tuple[str, bool], ...]


class PretrainParams(Params):
    """A small Llama made from nothing. Not in the paper, which starts from Llama 2 70B."""

    hidden_size: int = Field(128, ge=8, le=1_000_000)
    """Width."""
    layers: int = Field(4, ge=1, le=100_000)
    """Transformer blocks."""
    heads: int = Field(4, ge=1, le=1_000_000)
    """Attention heads; `hidden_size` must be a multiple of them."""
    mlp_size: int = Field(336, ge=8, le=10_000_000)
    """Width inside the feed-forward blocks."""
    positions: int = Field(512, ge=16, le=TOKENS)
    """Longest text the model can see, in tokens."""
    row_length: int = Field(256, ge=16, le=TOKENS)
    """Tokens per row. Several documents are packed into a row, and none sees another."""
    batch_size: int = Field(4, ge=1, le=1_000_000)
    """Rows per step. There is one pass over the documents, so they decide the number of steps."""
    matrix_learning_rate: float = Field(0.006, gt=0, le=1)
    """Peak rate of Muon, which moves the matrices."""
    learning_rate: float = Field(5e-3, gt=0, le=1)
    """Peak rate of AdamW, which moves embeddings and norms."""
    course: tuple[tuple[Share, Share], ...] = (
        (0.0, 0.0),
        (0.02, 1.0),
        (0.12, 1.0),
        (0.3, 0.3),
        (1.0, 0.02),
    )
    """Corners of the rates' course, in lines from one to the next: share of the steps, share of the
    peak. Small differences (is a word said twice?) are learnt only once the rates have fallen."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e9)
    """Longer gradients are scaled down to this norm."""

    @field_validator("course")
    @classmethod
    def _in_order(cls, course: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        shares = [share for share, _ in course]
        if shares != sorted(set(shares)) or not shares or (shares[0], shares[-1]) != (0, 1):
            raise ValueError("name shares of the steps from 0 to 1, each larger than the last")
        return course

    @model_validator(mode="after")
    def _heads_of_one_width(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size = {self.hidden_size} is no multiple of heads = {self.heads}"
            )
        return self


@dataclass(frozen=True)
class Trained:
    """A new checkpoint in a scratch folder, and what training logged: one dict a logged step."""

    checkpoint: Checkpoint
    log: list[dict[str, float]] = field(default_factory=list)
    """Keys: step, loss, learning_rate, grad_norm; DPO adds rewards/accuracies, rewards/margins,
    rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, and log_ratio, which
    `DpoParams.max_log_ratio` limits."""
    too_long: int = 0
    """Examples or pairs that were left out, see `TuningParams.max_length`."""

    def metrics(self) -> dict[str, float]:
        """The last logged values, as `train/...`."""
        last = self.log[-1]
        return {f"train/{name}": float(value) for name, value in last.items() if name != "step"}


class TrainingEngine(Protocol):
    """Makes a new model; the one it starts from, on disk, is never changed."""

    def pretrain(self, documents: Sequence[Document], params: PretrainParams, seed: int) -> Trained:
        """A model made from nothing, with a tokenizer of the documents' own words.

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
        """`policy` moved towards the chosen responses, held by `reference`.

        Schedules in `params` are read at iteration `policy.iteration + 1`.
        """
        ...

    def misfits(
        self, model: Checkpoint, examples: Sequence[Example], params: TuningParams
    ) -> list[str]:
        """Why each example is too long to be learnt, in tokens; empty where it fits.

        Weights are not loaded.
        """
        ...

    def log_probs(self, model: Checkpoint, examples: Sequence[Example]) -> list[float]:
        """How probable `model` finds each completion after its prompt, dropout aside.

        The sum of its tokens' log-probabilities in nats, the end token's included unless it was
        cut.
        """
        ...
