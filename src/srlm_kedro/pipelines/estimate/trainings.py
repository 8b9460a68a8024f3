"""How much the loop trains: each training, in examples, tokens and passes."""

import math

import pandas as pd

from srlm_kedro.engines.training.params import DpoParams, PretrainParams, SftParams, TuningParams
from srlm_kedro.microworld.params import CorpusParams, MicroworldParams
from srlm_kedro.pipelines.eft.params import EftParams
from srlm_kedro.pipelines.estimate.draws import END, TURN, Volume
from srlm_kedro.pipelines.estimate.params import EstimateParams, expected
from srlm_kedro.pipelines.loop import LoopParams
from srlm_kedro.pipelines.prompts.params import PromptsParams

_DOCUMENTS = {"review": 88.0, "answer": 28.9, "tasks": 167.7, "drill": 24.1, "check": 51.0}
"""Tokens of the microworld's documents; of a review, those behind the judge prompt. Measured."""
_FILLED = 0.977
"""Share of a packed row that is no padding. Measured."""


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
    """One row per training: its examples or pairs, tokens, steps, passes and micro-batches.

    `passes` counts forward passes, in tokens. A backward pass counts as two of them, or as one
    where all weights but an adapter's are frozen.
    """
    volume = Volume(estimate_texts, expected(loop, estimate), estimate, prompts, eft)
    texts = estimate_texts
    one = texts["ift_prompt"] + texts["ift_response"] + TURN + END
    judged = texts["judge_prompt"] + texts["eft_prompt"] + texts["eft_response"] + TURN
    judgements = {"baseline": volume.pool * eft.sampling.n, "ranking": volume.pool, "none": 0.0}
    judgements["labels"] = volume.pool * texts["criteria"]
    kept = judgements[loop.eft] * volume.expected.kept_share
    answer = 1 if texts["criteria"] else volume.expected.judgement_tokens
    seed_tokens = texts["ift"] * one + kept * (judged + texts["question"] + answer)
    rows = [_pretraining(microworld.corpus, pretraining)] if loop.pretrain else []
    rows.append(_training("sft", texts["ift"], texts["ift"] * one, sft, estimate))
    rows.append(_training("m1", texts["ift"] + kept, seed_tokens, sft, estimate))
    for t in range(2, loop.iterations + 1):
        pairs, answer = volume.pairs(t), volume.response(t - 1)
        if loop.update == "dpo":
            tokens = pairs * 2 * (texts["ift_prompt"] + TURN + answer)
            rows.append(_training(f"m{t}", pairs, tokens, dpo, estimate, reference=1))
        else:
            tokens = seed_tokens + pairs * (texts["ift_prompt"] + TURN + answer)
            rows.append(_training(f"m{t}", texts["ift"] + kept + pairs, tokens, sft, estimate))
    return pd.DataFrame(rows)


def _training(
    name: str,
    examples: float,
    tokens: float,
    params: TuningParams,
    estimate: EstimateParams,
    reference: int = 0,
) -> dict[str, float | str]:
    """One fine-tuning; `reference` is 1 for DPO, whose reference reads all pairs once."""
    backward = 1 if params.lora else 2
    passes = params.epochs * (1 + backward + estimate.activation_checkpointing) + reference
    sequences = 1 + reference  # chosen and rejected
    mean = tokens / max(examples, 1) / sequences
    longest = min(params.max_length, 2 * mean)
    lora = params.lora
    return {
        "stage": "training",
        "model": name,
        "examples": round(examples),
        "train_tokens": round(tokens * params.epochs),
        "passes": round(tokens * passes),
        "optimizer_steps": params.steps(examples),
        "warning": params.too_few_steps(examples),
        "micro_batches": math.ceil(examples * params.epochs / params.micro_batch_size),
        "held_tokens": round(params.micro_batch_size * sequences * longest),
        "rank": lora.rank if lora else 0,
        "quantised": bool(lora and lora.quantise),
        "adapter_kept": bool(lora and lora.keep == "adapter"),
    }


def _pretraining(corpus: CorpusParams, params: PretrainParams) -> dict[str, float | str]:
    """The training of the microworld's M0, which reads its corpus once."""
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
        "optimizer_steps": math.ceil(tokens / step),
        "warning": "",
        "micro_batches": math.ceil(tokens / step),
        "held_tokens": step,
        **{"rank": 0, "quantised": False, "adapter_kept": False},
    }
