"""Every drawing and every training of the loop, in tokens."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from srlm_kedro.engines.generation.base import Sampling
from srlm_kedro.engines.training.base import (
    DpoParams,
    LoraParams,
    PretrainParams,
    SftParams,
    TuningParams,
)
from srlm_kedro.params import at
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.estimate.expected import Expected
from srlm_kedro.pipelines.estimate.params import EstimateParams
from srlm_kedro.pipelines.estimate.sizes import expected
from srlm_kedro.pipelines.evaluation.params import EvaluationParams
from srlm_kedro.pipelines.judging.nodes import JudgingParams
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.microworld.params import CorpusParams, MicroworldParams
from srlm_kedro.pipelines.prompts.params import PromptsParams
from srlm_kedro.pipelines.responses import ResponsesParams
from srlm_kedro.pipelines.selection.nodes import SelectionParams
from srlm_kedro.pipelines.study.rubric import RubricParams
from srlm_kedro.pipelines.study.self_judging import StudyParams

_TURN = 2
"""Tokens that open a user's and an assistant's turn."""
_END = 1
_DOCUMENTS = {"review": 88.0, "answer": 28.9, "tasks": 167.7, "drill": 24.1, "check": 51.0}
"""Measured: tokens of the microworld's documents; a review's are those behind the judge prompt."""
_FILLED = 0.977
"""Measured: share of a packed row that is no padding."""


@dataclass(frozen=True)
class _Loop:
    """What tells how many texts of which length the loop moves."""

    texts: dict[str, float]
    expected: Expected
    estimate: EstimateParams
    prompts: PromptsParams
    iterations: int

    def written(self, t: int) -> float:
        """Continuations drawn for M_t."""
        wanted = at(self.prompts.count, t) / at(self.expected.accepted_share, t)
        return min(wanted, at(self.prompts.max_written, t))

    def accepted(self, t: int) -> float:
        """New prompts of M_t."""
        share = at(self.expected.accepted_share, t)
        return min(at(self.prompts.count, t), self.written(t) * share)

    def pairs(self, t: int) -> float:
        return self.accepted(t) * at(self.expected.pair_yield, t)

    def response(self, drawn_by: int) -> float:
        """Tokens of a response of M_t, its end token included; the baseline's are M1's."""
        growth = self.expected.response_growth ** max(drawn_by - 1, 0)
        return self.texts["ift_response"] * growth + _END

    def draw(
        self, stage: str, model: str, requests: float, sampling: Sampling, **lengths: float
    ) -> dict[str, float | str]:
        """One drawing; `lengths`: prompt, shared, new, in tokens of one request and completion."""
        requests = round(requests)
        completions, new = requests * sampling.n, min(lengths["new"], sampling.max_new_tokens)
        batches = math.ceil(completions / self.estimate.rows)
        shared = lengths.get("shared", 0.0)
        own = (lengths["prompt"] - shared) * requests + shared
        return {
            "stage": stage,
            "model": model,
            "requests": requests,
            "completions": completions,
            "prompt_tokens": round(lengths["prompt"] * requests),
            "prefill_tokens": round(
                own if self.estimate.shares_prefixes else lengths["prompt"] * completions
            ),
            "new_tokens": round(new * completions),
            "steps": batches * min(sampling.max_new_tokens, math.ceil(2 * new)),
            "longest": round(lengths["prompt"] + sampling.max_new_tokens),
        }

    def judge(
        self,
        stage: str,
        model: str,
        responses: float,
        sampling: Sampling,
        prompt: float,
        own: float,
    ) -> dict[str, float | str]:
        """A judging of responses of `own` tokens to prompts of `prompt` tokens."""
        rubric, new = self.texts["judge_prompt"], self.expected.judgement_tokens
        return self.draw(
            *(stage, model, responses, sampling),
            prompt=rubric + prompt + own + _TURN,
            shared=self.texts["judge_prefix"],
            new=new,
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
    """A row a drawing: requests, completions, and tokens read and drawn.

    With `loop.study` M1 judges under shuffled prompts and, as a referee is taken to score, each
    model its own answers.
    `prompt_tokens` counts each request's prompt once, `prefill_tokens` what is computed of them
    where the engine shares prefixes, `new_tokens` what is drawn. Retries are left out.
    """
    plan = _Loop(estimate_texts, expected(loop, estimate), estimate, prompts, loop.iterations)
    rows = list(_eft(plan, eft)) if loop.eft == "baseline" else []
    for t in range(2, loop.iterations + 1):
        rows += _iteration(plan, t, responses, judging, twice=loop.soft_labels)
    held = _held(plan.texts, eft)
    for name in ["sft", *(f"m{t}" for t in range(1, loop.iterations + 1))]:
        rows += _evaluation(plan, name, evaluation, held)
        if loop.study and evaluation.sampling.n > 1:
            rows.append(_study(plan, name, evaluation, study))
    if loop.study:
        rows += [_rubric(plan, evaluation, held)] * rubric.shuffles
    if loop.when_worse != "off" and loop.iterations > 1:
        asked = min(plan.texts["eft_prompts"] * _held_share(plan.texts, eft), selection.prompts)
        for t in range(1, loop.iterations + 1):
            rows += _selection(plan, t, selection, asked)
    return pd.DataFrame(rows)


def expect_training(
    estimate_texts: dict[str, float],
    loop: LoopParams,
    prompts: PromptsParams,
    eft: EftParams,
    sft: SftParams,
    dpo: DpoParams,
    microworld: MicroworldParams,
    pretraining: PretrainParams,
    estimate: EstimateParams,
) -> pd.DataFrame:
    """A row a training: examples or pairs of one epoch, tokens of one, passes, micro-batches.

    `passes` counts forward passes over those tokens; a backward pass is worth two of them, one
    where the weights are frozen but for an adapter.
    """
    plan = _Loop(estimate_texts, expected(loop, estimate), estimate, prompts, loop.iterations)
    texts = plan.texts
    one = texts["ift_prompt"] + texts["ift_response"] + _TURN + _END
    judged = texts["judge_prompt"] + texts["eft_prompt"] + texts["eft_response"] + _TURN
    kept = _kept(plan, loop, eft)
    seed_tokens = texts["ift"] * one + kept * (judged + plan.expected.judgement_tokens)
    rows = [_pretraining(microworld.corpus, pretraining)] if loop.pretrain else []
    rows.append(_training("sft", texts["ift"], texts["ift"] * one, sft, estimate))
    rows.append(_training("m1", texts["ift"] + kept, seed_tokens, sft, estimate))
    for t in range(2, loop.iterations + 1):
        pairs, answer = plan.pairs(t), plan.response(t - 1)
        if loop.update == "dpo":
            tokens = pairs * 2 * (texts["ift_prompt"] + _TURN + answer)
            rows.append(_training(f"m{t}", pairs, tokens, dpo, estimate, reference=1))
        else:
            tokens = seed_tokens + pairs * (texts["ift_prompt"] + _TURN + answer)
            rows.append(_training(f"m{t}", texts["ift"] + kept + pairs, tokens, sft, estimate))
    return pd.DataFrame(rows)


def _held(texts: dict[str, float], eft: EftParams) -> float:
    """Ranked responses held back from EFT."""
    return texts["eft_responses"] * _held_share(texts, eft)


def _held_share(texts: dict[str, float], eft: EftParams) -> float:
    if eft.eval_prompts is None:
        return eft.eval_fraction
    return eft.eval_prompts / texts["eft_prompts"]


def _kept(plan: _Loop, loop: LoopParams, eft: EftParams) -> float:
    """EFT examples that M1 learns from."""
    pool = plan.texts["eft_responses"] - _held(plan.texts, eft)
    judged = {"baseline": pool * eft.sampling.n, "ranking": pool, "none": 0.0}
    return judged[loop.eft] * plan.expected.kept_share


def _eft(plan: _Loop, eft: EftParams) -> Iterator[dict]:
    texts = plan.texts
    pool = texts["eft_responses"] - _held(texts, eft)
    lengths = (texts["eft_prompt"], texts["eft_response"])
    yield plan.judge("eft", "eft", pool, eft.sampling, *lengths)


def _iteration(
    plan: _Loop, t: int, responses: ResponsesParams, judging: JudgingParams, twice: bool
) -> Iterator[dict]:
    texts, writing, name = plan.texts, plan.prompts, f"m{t}"
    shown = writing.ift_demonstrations + writing.model_demonstrations
    yield plan.draw(
        *("prompts", name, plan.written(t) / writing.sampling.n, writing.sampling),
        prompt=texts["few_shot_prompt"] + shown * (texts["ift_prompt"] + 3),  # `Task`, `:`, newline
        new=plan.expected.written_tokens or texts["ift_prompt"] + _END,
    )
    asked, answer = plan.accepted(t), plan.response(t - 1)
    yield plan.draw(
        *("responses", name, asked, responses.sampling),
        prompt=texts["ift_prompt"] + _TURN,
        new=answer,
    )
    answers = asked * responses.sampling.n
    lengths = (texts["ift_prompt"], answer)
    for stage in ("judging", "consistency") if twice else ("judging",):
        yield plan.judge(stage, name, answers, judging.sampling, *lengths)


def _evaluation(
    plan: _Loop, name: str, evaluation: EvaluationParams, held: float
) -> Iterator[dict]:
    texts = plan.texts
    drawn = evaluation.sampling.n + evaluation.greedy
    sampling = evaluation.sampling.model_copy(update={"n": drawn})
    yield plan.draw(
        *("evaluation", name, texts["eval_prompts"], sampling),
        prompt=texts["eval_prompt"] + _TURN,
        new=plan.response(_place(name)),
    )
    lengths = (texts["eft_prompt"], texts["eft_response"])
    yield plan.judge("evaluation", name, held, evaluation.judging, *lengths)


def _study(plan: _Loop, name: str, evaluation: EvaluationParams, study: StudyParams) -> dict:
    prompts = min(plan.texts["eval_prompts"], study.own_prompts or math.inf)
    answers = prompts * evaluation.sampling.n
    lengths = (plan.texts["eval_prompt"], plan.response(_place(name)))
    return plan.judge("study", name, answers, evaluation.judging, *lengths)


def _rubric(plan: _Loop, evaluation: EvaluationParams, held: float) -> dict:
    lengths = (plan.texts["eft_prompt"], plan.texts["eft_response"])
    return plan.judge("study", "m1", held, evaluation.judging, *lengths)


def _place(name: str) -> int:
    """The t of M_t, 0 for the baseline."""
    return 0 if name == "sft" else int(name[1:])


def _selection(plan: _Loop, t: int, selection: SelectionParams, asked: float) -> Iterator[dict]:
    prompt, answer = plan.texts["eft_prompt"], plan.response(t)
    yield plan.draw(
        *("selection", f"m{t}", asked, selection.sampling), prompt=prompt + _TURN, new=answer
    )
    answers = asked * selection.sampling.n
    yield plan.judge("selection", f"m{t}", answers, selection.judging, prompt, answer)


def _training(
    name: str,
    examples: float,
    tokens: float,
    params: TuningParams,
    estimate: EstimateParams,
    reference: int = 0,
) -> dict[str, float | str]:
    backward = 1 if params.lora else 2
    passes = params.epochs * (1 + backward + estimate.activation_checkpointing) + reference
    sequences = 1 + reference  # chosen and rejected
    mean = tokens / max(examples, 1) / sequences
    return {
        "stage": "training",
        "model": name,
        "examples": round(examples),
        "train_tokens": round(tokens * params.epochs),
        "passes": round(tokens * passes),
        "micro_batches": math.ceil(examples * params.epochs / params.micro_batch_size),
        "held_tokens": round(
            params.micro_batch_size * sequences * min(params.max_length, 2 * mean)
        ),
        **_adapter(params.lora),
    }


def _adapter(lora: LoraParams | None) -> dict[str, float]:
    """What of a model is trained, and what of it goes to disk."""
    return {
        "rank": lora.rank if lora else 0,
        "quantised": bool(lora and lora.quantise),
        "adapter_kept": bool(lora and lora.keep == "adapter"),
    }


def _pretraining(corpus: CorpusParams, params: PretrainParams) -> dict[str, float | str]:
    later = 1 - corpus.opening
    rest = later * (1 - corpus.drills - corpus.checks)
    shares = {
        "drill": corpus.opening * corpus.opening_drills + later * corpus.drills,
        "check": corpus.opening * corpus.opening_checks + later * corpus.checks,
        "review": rest * corpus.reviews,
        "tasks": rest * corpus.tasks,
    }
    shares["answer"] = 1 - sum(shares.values())
    mean = sum(share * _DOCUMENTS[kind] for kind, share in shares.items())
    tokens = corpus.documents * mean / _FILLED
    step = params.row_length * params.batch_size
    return {
        "stage": "pretraining",
        "model": "m0",
        "examples": corpus.documents,
        "train_tokens": round(tokens),
        "passes": round(3 * tokens),
        "micro_batches": math.ceil(tokens / step),
        "held_tokens": step,
        **_adapter(None),
    }
