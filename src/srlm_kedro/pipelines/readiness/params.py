"""The parameters `readiness`: which model is tried, on how much, and what counts as ready."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from srlm_kedro.params import MAX_COUNT, Params

Verdict = Literal["ready", "doubtful", "not ready"]
_Sample = Annotated[int, Field(ge=2, le=MAX_COUNT)]
_Bound = Annotated[float, Field(ge=0, le=1)]


class AtLeast(Params):
    """Two bounds for a figure of which more is better."""

    ready: _Bound
    """From here on: ready."""
    doubtful: _Bound
    """From here on: doubtful; below: not ready."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ready < self.doubtful:
            raise ValueError(
                f"ready = {self.ready:g} must not be below doubtful = {self.doubtful:g}"
            )
        return self

    def verdict(self, figure: float) -> Verdict:
        """NaN is not ready."""
        return _verdict(figure >= self.ready, figure >= self.doubtful)


class AtMost(Params):
    """Two bounds for a figure of which less is better."""

    ready: _Bound
    """Up to here: ready."""
    doubtful: _Bound
    """Up to here: doubtful; above: not ready."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ready > self.doubtful:
            raise ValueError(
                f"ready = {self.ready:g} must not be above doubtful = {self.doubtful:g}"
            )
        return self

    def verdict(self, figure: float) -> Verdict:
        """NaN is not ready."""
        return _verdict(figure <= self.ready, figure <= self.doubtful)


class ReadinessParams(Params):
    """The parameters `readiness`: small samples, and bounds with the reason for each."""

    model: str = Field("m0", pattern=r"^(sft|m\d{1,4})$")
    """The model that is tried: `m0`, `sft`, `m1`, ... It must be on disk; M0 is made if the project
    makes it."""
    rankings: _Sample = 24
    """Number of held-back prompts of EFT whose ranked responses it judges in the loop's form. Four
    responses that all differ in rank give 6 pairs a prompt."""
    other_rankings: int = Field(8, ge=0, le=MAX_COUNT)
    """How many of these prompts it judges in the form that the loop does not use. 0: none."""
    repeats: int = Field(2, ge=1, le=1000)
    """Judgements in words of each ranked response, to see how far they agree."""
    prompts: _Sample = 16
    """Number of IFT prompts that it answers, as often as `responses.sampling.n` says."""
    written: _Sample = 48
    """Number of new prompts that it writes."""
    resamples: int = Field(2000, ge=100, le=1_000_000)
    """Bootstrap resamples of the prompts, for the 95% intervals."""

    parse_rate: AtLeast = AtLeast(ready=0.90, doubtful=0.54)
    """Share of judgements in words that have a score. The loop stops below 0.90
    (`judging.max_unparsed`). With two retries, a rate of 0.54 becomes 0.90."""
    accuracy: AtLeast = AtLeast(ready=0.65, doubtful=0.55)
    """Share of the ranked pairs with unequal scores that are in the seed data's order. Chance: 0.5. Paper,
    table 4: 0.65 before EFT was enough to reach 0.79 after it. At 0.55, the gain that the
    microworld's seeds predict is no larger than their scatter. A judge whose interval reaches
    chance is not ready, or doubtful if its accuracy is above `ready`."""
    ties: AtMost = AtMost(ready=0.15, doubtful=0.40)
    """Share of the ranked pairs with equal scores. The M1 of 20 seeds of the microworld tied 2 to
    15% of their own pairs. The control that tied 28% gained half as much."""
    saturation: AtMost = AtMost(ready=0.50, doubtful=0.85)
    """Share of the model's own responses that get the full score. Where they are four to a prompt
    and alike, 0.85 leaves every second prompt without a difference, and 0.50 one in sixteen."""
    agreement: AtLeast = AtLeast(ready=0.40, doubtful=0.20)
    """Cohen's kappa of repeated judgements in words, in whole points: 0 is chance, 1 is certainty.
    0.2 and 0.4 are where Landis and Koch (1977) begin to speak of fair and moderate agreement."""
    length_bias: AtMost = AtMost(ready=0.10, doubtful=0.25)
    """How much more often the judge prefers the longer response of a ranked pair than people do, as
    a share of the pairs. In 100 pairs chance alone moves it by 0.10. Each iteration adds to it:
    the paper's responses more than doubled their length from M1 to M3."""
    pair_yield: AtLeast = AtLeast(ready=0.50, doubtful=0.20)
    """Pairs per prompt. The microworld's seeds had 0.70 to 0.94; published runs of models with 7B
    parameters about 0.55."""
    cut_off: AtMost = AtMost(ready=0.10, doubtful=0.30)
    """Share of texts that the token limit ends, for responses, judgements and prompts each. Where
    0.3 of the responses are dropped, one prompt in twelve keeps fewer than two of four."""
    prompt_share: AtLeast = AtLeast(ready=0.90, doubtful=0.50)
    """Expected share of `prompts.count` that `prompts.max_written` gives in the next iteration. A
    small sample is kind: the more is written, the more repeats what is known."""
    min_examples: int = Field(100, ge=0, le=MAX_COUNT)
    """Least expected examples of EFT for a verdict of ready. The paper has 1,630. In 100 examples
    with scores from 0 to 5, a score has about 20."""

    @field_validator("*", mode="before")
    @classmethod
    def _keep_other_bound(cls, value: Any, info: ValidationInfo) -> Any:
        """One bound can be set alone: the other keeps its default."""
        default = cls.model_fields[str(info.field_name)].default
        is_part = isinstance(value, Mapping) and isinstance(default, AtLeast | AtMost)
        return {**default.model_dump(), **value} if is_part else value


def _verdict(is_ready: bool, is_doubtful: bool) -> Verdict:
    return "ready" if is_ready else "doubtful" if is_doubtful else "not ready"
