"""What the model is tried on: small samples of what each stage of the loop would ask of it.

The stages' own functions draw, with the stages' own parameters. Only the numbers are smaller.
"""

from collections.abc import Callable
from typing import Annotated

import pandas as pd

from srlm_kedro.engines.generation.base import GenerationEngine
from srlm_kedro.errors import GateError, InputError
from srlm_kedro.judge.criteria import CriteriaPrompt, JudgePrompt, has_criteria
from srlm_kedro.judge.judgements import COLUMNS, judge_responses
from srlm_kedro.params import Reads
from srlm_kedro.pipelines.eft.nodes import split_eft
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.judging.checked import check_candidates, judge_and_check
from srlm_kedro.pipelines.judging.nodes import JudgingParams, judge_candidates
from srlm_kedro.pipelines.prompts.nodes import write_prompts
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.readiness.params import ReadinessParams
from srlm_kedro.pipelines.responses import ResponsesParams, draw_responses
from srlm_kedro.records import Checkpoint, derive_seed, draw_sample
from srlm_kedro.referee.base import Referee

Note = dict[str, str]
"""`refused`: why the judge or the checker cannot be asked; empty if it can."""


def sample_rankings(
    eft_ranked: pd.DataFrame,
    ift: pd.DataFrame,
    eft: Annotated[EftParams, Reads("eval_fraction", "eval_prompts")],
    readiness: Annotated[ReadinessParams, Reads("rankings", "other_rankings")],
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ranked responses to some of the prompts that EFT holds back: no model learns from them.

    Prompts whose responses have one rank alone come last, because they have nothing to order.

    Returns:
        Those for the loop's form of judging, and the fewer ones of them for the other form.
    """
    _, held = split_eft(eft_ranked, ift, eft, seed)
    ranks = held.groupby("prompt_id")["rank"].nunique()
    telling = sorted(ranks.index[ranks > 1])
    drawn = draw_sample(telling, readiness.rankings, seed, "readiness rankings")
    if len(drawn) < readiness.rankings:
        rest = sorted(set(ranks.index) - set(telling))
        missing = readiness.rankings - len(drawn)
        drawn += draw_sample(rest, missing, seed, "readiness rankings")
    few = drawn[: readiness.other_rankings]
    return tuple(held[held["prompt_id"].isin(each)].reset_index(drop=True) for each in (drawn, few))


def judge_in_words(
    judge: Checkpoint,
    rankings: pd.DataFrame,
    judge_prompt: str,
    judge_engine: GenerationEngine,
    eft: Annotated[EftParams, Reads("sampling")],
    readiness: Annotated[ReadinessParams, Reads("repeats")],
    seed: int,
) -> tuple[pd.DataFrame, Note]:
    """Judgements in words of the ranked responses, drawn as EFT's, `readiness.repeats` of each."""
    repeats = readiness.repeats if eft.sampling.temperature else 1
    sampling = eft.sampling.model_copy(update={"n": repeats})

    def judged() -> pd.DataFrame:
        _refuse_nothing(rankings)
        return judge_responses(
            *(judge_engine, judge, judge_prompt, rankings, sampling, derive_seed(seed, "eft"))
        ).whole()

    return _or_refused(judged)


def judge_by_criteria(
    judge: Checkpoint,
    rankings: pd.DataFrame,
    criteria_prompt: CriteriaPrompt,
    judge_engine: GenerationEngine,
    eft: Annotated[EftParams, Reads("sampling")],
    seed: int,
) -> tuple[pd.DataFrame, Note]:
    """Judgements by criteria of the ranked responses. They are not drawn: one of each is enough."""

    def judged() -> pd.DataFrame:
        _refuse_nothing(rankings)
        known = [has_criteria(criteria_prompt, prompt) for prompt in rankings["prompt"]]
        if not any(known):
            raise InputError("the rubric of `criteria_prompt` knows no criteria for these prompts")
        asked = rankings[known]
        return judge_responses(
            judge_engine, judge, criteria_prompt, asked, eft.sampling, seed
        ).whole()

    return _or_refused(judged)


def answer_prompts(
    policy: Checkpoint,
    ift: pd.DataFrame,
    generation_engine: GenerationEngine,
    responses: ResponsesParams,
    readiness: Annotated[ReadinessParams, Reads("prompts")],
    seed: int,
) -> pd.DataFrame:
    """The model's responses to some IFT prompts, as many to each as in the loop."""
    ids = sorted(ift["prompt_id"])
    drawn = draw_sample(ids, readiness.prompts, seed, "readiness prompts")
    asked = ift[ift["prompt_id"].isin(drawn)]
    return draw_responses(policy, asked, generation_engine, responses, seed).whole()


def judge_own_answers(
    judge: Checkpoint,
    responses: pd.DataFrame,
    asked: JudgePrompt,
    judge_engine: GenerationEngine,
    judging: Annotated[JudgingParams, Reads("sampling", "retries", "cut", "empty")],
    seed: int,
) -> tuple[pd.DataFrame, Note]:
    """The loop's judgements of these responses; none if the judge cannot be asked in this form."""
    given = judge, responses, asked, judge_engine, _patient(judging), seed
    return _or_refused(lambda: judge_candidates(*given).whole())


def check_own_answers(
    checker: Referee,
    responses: pd.DataFrame,
    judging: Annotated[JudgingParams, Reads("cut", "empty")],
) -> tuple[pd.DataFrame, Note]:
    """The checker's judgements of these responses; none if it understands none of the prompts."""
    return _or_refused(lambda: check_candidates(checker, responses, judging))


def judge_and_check_own_answers(
    checker: Referee,
    judge: Checkpoint,
    responses: pd.DataFrame,
    asked: JudgePrompt,
    judge_engine: GenerationEngine,
    judging: Annotated[JudgingParams, Reads("sampling", "retries", "cut", "empty")],
    seed: int,
) -> tuple[pd.DataFrame, Note]:
    """Both judgements of these responses; none if either can give none."""
    given = judge, responses, asked, judge_engine, _patient(judging), seed
    return _or_refused(lambda: judge_and_check(checker, *given))


def try_writing(
    writer: Checkpoint,
    policy: Checkpoint,
    ift: pd.DataFrame,
    eft_ranked: pd.DataFrame,
    few_shot_prompt: str,
    generation_engine: GenerationEngine,
    prompts: PromptsParams,
    readiness: Annotated[ReadinessParams, Reads("written")],
    seed: int,
    criteria_prompt: CriteriaPrompt | None = None,
) -> pd.DataFrame:
    """The first prompts that the next iteration would write, each with `ok` or a reason."""
    written = max(readiness.written, prompts.sampling.n)
    few = prompts.model_copy(update={"count": (written,), "max_written": (written,)})
    nothing = pd.DataFrame({"prompt_id": [], "prompt": []})
    return write_prompts(
        *(writer, policy, ift, eft_ranked, nothing, few_shot_prompt, generation_engine),
        *(few, seed, {}, criteria_prompt),
    )


def _refuse_nothing(rankings: pd.DataFrame) -> None:
    if rankings.empty:
        raise InputError("`readiness.other_rankings` is 0")


def _patient(judging: JudgingParams) -> JudgingParams:
    """Draws all judgements, even if the first ones have no score: that is what is to be told."""
    return judging.model_copy(update={"give_up_at": 1.0})


def _or_refused(judged: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, Note]:
    """The judgements; or none, and why the judge or the checker cannot be asked."""
    try:
        return judged(), {"refused": ""}
    except (InputError, GateError) as error:
        return pd.DataFrame(columns=COLUMNS), {"refused": str(error)}
