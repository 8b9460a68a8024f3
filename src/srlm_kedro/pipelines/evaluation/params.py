"""The parameters `evaluation`."""

from typing import Annotated, Literal

from pydantic import Field

from srlm_kedro.engines.generation.base import StageSampling
from srlm_kedro.params import LIMIT, MAX_TOKENS, Params


class EvalSampling(StageSampling):
    """How evaluated responses are drawn (paper: not stated; as candidates are, section 3.1)."""

    n: int = Field(4, ge=1, le=1000)
    """Sampled responses per held-out prompt (paper: not stated)."""


class EvalJudgeSampling(StageSampling):
    """How judgements of held-back responses are drawn (paper: not stated; as in the loop)."""

    n: int = Field(3, ge=1, le=1000)
    """K, judgements per response; the mean of their scores is the response's score."""
    max_new_tokens: int = Field(384, ge=1, le=MAX_TOKENS)
    """Longest judgement in tokens (paper: not stated)."""


class EvaluationParams(Params):
    """The parameters `evaluation`: what is measured of each model."""

    sampling: EvalSampling = EvalSampling()
    """How the responses to the held-out prompts are drawn."""
    greedy: bool = True
    """True: one more response per prompt, drawn greedily, only for `eval/greedy_score`."""
    judging: EvalJudgeSampling = EvalJudgeSampling()
    """How the ranked responses that EFT held back are judged."""
    retries: int = Field(2, ge=0, le=100)
    """Further attempts for a judgement without a score."""
    pairing: Literal["all", "matched"] = "all"
    """Which responses to a prompt are compared in the head-to-head. `all`: each of the model with
    each of the opponent, the estimate with the least variance. `matched`: the i-th with the i-th,
    which suits a referee that costs money: n comparisons per prompt, opponent and order in place
    of n squared."""
    max_unparsed: Annotated[float, LIMIT] = Field(0.10, ge=0, le=1)
    """The run stops if a larger share of a comparing referee's completions has no verdict. All of
    them are kept: with a higher limit the run goes on and does not ask the referee again."""
    resamples: int = Field(2000, ge=100, le=1_000_000)
    """Bootstrap resamples of the prompts, for the 95% intervals."""
