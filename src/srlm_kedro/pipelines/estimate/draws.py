"""How much the loop samples: each sampling and judging, in requests and tokens."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.params import at
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.estimate.params import EstimateParams, Expected, expected
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.pipelines.selection.nodes import SelectionParams
from srlm_kedro.pipelines.study.params import StudyParams
from srlm_kedro.pipelines.study.rubric import RubricParams

TURN = 2
"""Tokens that open a user's turn and an assistant's turn."""
END = 1
_TASK_LINE = 3
"""Tokens of `Task`, `:` and the newline around a demonstration."""


@dataclass(frozen=True)
class Volume:
    """How many texts of which length the loop produces."""

    texts: dict[str, float]
    expected: Expected
    estimate: EstimateParams
    prompts: PromptsParams
    eft: EftParams

    @property
    def held_share(self) -> float:
        """Share of the EFT prompts that are held back to measure judges."""
        if self.eft.eval_prompts is None:
            return self.eft.eval_fraction
        return self.eft.eval_prompts / self.texts["eft_prompts"]

    @property
    def held(self) -> float:
        """Ranked responses that are held back."""
        return self.texts["eft_responses"] * self.held_share

    @property
    def pool(self) -> float:
        """Ranked responses that M1 may learn from."""
        return self.texts["eft_responses"] - self.held

    def written(self, t: int) -> float:
        """Continuations drawn for M_t."""
        wanted = at(self.prompts.count, t) / at(self.expected.accepted_share, t)
        return min(wanted, at(self.prompts.max_written, t))

    def accepted(self, t: int) -> float:
        """New prompts of M_t."""
        share = at(self.expected.accepted_share, t)
        return min(at(self.prompts.count, t), self.written(t) * share)

    def pairs(self, t: int) -> float:
        """Pairs that M_t is trained on."""
        return self.accepted(t) * at(self.expected.pair_yield, t)

    def response(self, drawn_by: int) -> float:
        """Tokens per response of M_t, its end token included; the baseline's are as M1's."""
        growth = self.expected.response_growth ** max(drawn_by - 1, 0)
        return self.texts["ift_response"] * growth + END

    def draw(
        self,
        stage: str,
        model: str,
        requests: float,
        sampling: Sampling,
        prompt: float,
        new: float,
        shared: float = 0.0,
    ) -> dict[str, float | str]:
        """One sampling. `prompt`, `new` and `shared` are tokens per request or completion."""
        requests = round(requests)
        completions, new = requests * sampling.n, min(new, sampling.max_new_tokens)
        batches = math.ceil(completions / self.estimate.rows)
        computed = (prompt - shared) * requests + shared
        return {
            "stage": stage,
            "model": model,
            "requests": requests,
            "completions": completions,
            "prompt_tokens": round(prompt * requests),
            "prefill_tokens": round(
                computed if self.estimate.shares_prefixes else prompt * completions
            ),
            "new_tokens": round(new * completions),
            "steps": batches * min(sampling.max_new_tokens, math.ceil(2 * new)),
            "longest": round(prompt + sampling.max_new_tokens),
        }

    def judge(
        self,
        stage: str,
        model: str,
        responses: float,
        sampling: Sampling,
        prompt: float,
        response: float,
    ) -> dict[str, float | str]:
        """The judging of responses; `prompt` and `response` are tokens of each."""
        by_criteria = self.texts["criteria"] > 0
        questions = self.texts["criteria"] * (self.texts["question"] + TURN)
        if by_criteria:  # one answer token for each criterion, and nothing is sampled
            sampling = sampling.model_copy(update={"n": 1, "max_new_tokens": 1})
        return self.draw(
            *(stage, model, responses, sampling),
            prompt=self.texts["judge_prompt"] + questions + prompt + response + TURN,
            new=1 if by_criteria else self.expected.judgement_tokens,
            shared=self.texts["judge_prefix"],
        )


def expect_draws(
    estimate_texts: dict[str, float],
    loop: LoopParams,
    prompts: PromptsParams,
    responses: ResponsesParams,
    judging: JudgingParams,
    eft: EftParams,
    evaluation: EvaluationParams,
    selection: SelectionParams,
    study: StudyParams,
    rubric: RubricParams,
    estimate: EstimateParams,
) -> pd.DataFrame:
    """One row per sampling: its requests, completions, and tokens read and drawn.

    `prompt_tokens` counts each request's prompt once, `prefill_tokens` what the engine computes of
    them, `new_tokens` what is drawn. Retries are left out. With `loop.study` the estimate assumes a
    referee that scores, so that each model judges its own answers.
    """
    volume = Volume(estimate_texts, expected(loop, estimate), estimate, prompts, eft)
    ranked = estimate_texts["eft_prompt"], estimate_texts["eft_response"]
    models = range(1, loop.iterations + 1)
    rows = []
    if loop.eft == "baseline":
        rows.append(volume.judge("eft", "eft", volume.pool, eft.sampling, *ranked))
    for t in models[1:]:
        rows += _iteration(volume, t, responses, judging, loop)
    for t in (0, *models):
        rows += _measured(volume, t, evaluation, study if loop.study else None)
    if loop.study:
        shuffled = volume.judge("study", "m1", volume.held, evaluation.judging, *ranked)
        rows += [shuffled] * rubric.shuffles
    if loop.when_worse != "off" and loop.iterations > 1:
        for t in models:
            rows += _validated(volume, t, selection)
    return pd.DataFrame(rows)


def _iteration(
    volume: Volume, t: int, responses: ResponsesParams, judging: JudgingParams, loop: LoopParams
) -> Iterator[dict]:
    """What is drawn to make M_t."""
    texts, writing, name = volume.texts, volume.prompts, f"m{t}"
    demonstrations = writing.ift_demonstrations + writing.model_demonstrations
    yield volume.draw(
        *("prompts", name, volume.written(t) / writing.sampling.n, writing.sampling),
        prompt=texts["few_shot_prompt"] + demonstrations * (texts["ift_prompt"] + _TASK_LINE),
        new=volume.expected.written_tokens or texts["ift_prompt"] + END,
    )
    asked, answer = volume.accepted(t), volume.response(t - 1)
    yield volume.draw(
        *("responses", name, asked, responses.sampling),
        prompt=texts["ift_prompt"] + TURN,
        new=answer,
    )
    candidates = asked * responses.sampling.n
    judged = ["judging"] if loop.reward != "checked" else []  # a program asks no judge
    for stage in [*judged, "consistency"] if loop.soft_labels else judged:
        yield volume.judge(stage, name, candidates, judging.sampling, texts["ift_prompt"], answer)


def _measured(
    volume: Volume, t: int, evaluation: EvaluationParams, study: StudyParams | None
) -> Iterator[dict]:
    """What M_t, or the baseline for t = 0, draws in its evaluation and study."""
    texts, name, answer = volume.texts, f"m{t}" if t else "sft", volume.response(t)
    n = evaluation.sampling.n
    sampling = evaluation.sampling.model_copy(update={"n": n + evaluation.greedy})
    yield volume.draw(
        *("evaluation", name, texts["eval_prompts"], sampling),
        prompt=texts["eval_prompt"] + TURN,
        new=answer,
    )
    ranked = texts["eft_prompt"], texts["eft_response"]
    yield volume.judge("evaluation", name, volume.held, evaluation.judging, *ranked)
    if study is not None and n > 1:
        answers = n * min(texts["eval_prompts"], study.own_prompts or math.inf)
        lengths = texts["eval_prompt"], answer
        yield volume.judge("study", name, answers, evaluation.judging, *lengths)


def _validated(volume: Volume, t: int, selection: SelectionParams) -> Iterator[dict]:
    """What M_t draws on the validation prompts, and the judging of it."""
    texts, name, answer = volume.texts, f"m{t}", volume.response(t)
    asked = min(texts["eft_prompts"] * volume.held_share, selection.prompts)
    yield volume.draw(
        *("selection", name, asked, selection.sampling),
        prompt=texts["eft_prompt"] + TURN,
        new=answer,
    )
    answers = asked * selection.sampling.n
    yield volume.judge("selection", name, answers, selection.judging, texts["eft_prompt"], answer)
