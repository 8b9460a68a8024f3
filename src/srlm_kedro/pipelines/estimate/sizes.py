"""How large M0 is, and how long the texts are that everything starts from."""

import re

import pandas as pd

from srlm_kedro.engines.training.base import PretrainParams
from srlm_kedro.errors import InputError
from srlm_kedro.pipelines.estimate.expected import ENGLISH, MICROWORLD, Expected
from srlm_kedro.pipelines.estimate.params import EstimateParams
from srlm_kedro.pipelines.loop import LoopParams

VERSION = 2

_PIECE = re.compile(r"\n|\w+|[^\w\s]")
_VOCABULARY = 214
"""Measured: what the microworld's default corpus needs."""


def size_model(
    m0_size: dict[str, float],
    loop: LoopParams,
    pretraining: PretrainParams,
    estimate: EstimateParams,
) -> dict[str, float]:
    """M0's parameters, layers and widths: as its folder says, else as stated, else as it is to be.

    Raises:
        InputError: M0 is given, but neither its folder nor its size is.
    """
    if m0_size:
        return m0_size
    if estimate.model is not None:
        return estimate.model.model_dump()
    if loop.world != "microworld":
        raise InputError(
            "estimate: M0's size is unknown: its folder holds no model. Put the model where the "
            "catalog's `m0.model` says, or state its size in `estimate.model` (parameters, "
            "layers, hidden_size, kv_size, vocabulary)."
        )
    width, layers = pretraining.hidden_size, pretraining.layers
    block = 4 * width**2 + 3 * width * pretraining.mlp_size + 2 * width
    return {
        "parameters": _VOCABULARY * width + layers * block + width,
        "layers": layers,
        "hidden_size": width,
        "kv_size": width,
        "vocabulary": _VOCABULARY,
    }


def measure_texts(
    ift: pd.DataFrame,
    eft_ranked: pd.DataFrame,
    eval_prompts: pd.DataFrame,
    judge_prompt: str,
    few_shot_prompt: str,
    loop: LoopParams,
    estimate: EstimateParams,
) -> dict[str, float]:
    """Numbers of rows, and mean tokens of each kind of text."""
    rate = expected(loop, estimate).tokens_per_word

    def mean(texts: pd.Series) -> float:
        return rate * float(texts.map(words).mean())

    return {
        "ift": len(ift),
        "ift_prompt": mean(ift["prompt"]),
        "ift_response": mean(ift["response"]),
        "eft_prompts": eft_ranked["prompt_id"].nunique(),
        "eft_responses": len(eft_ranked),
        "eft_prompt": mean(eft_ranked["prompt"]),
        "eft_response": mean(eft_ranked["response"]),
        "eval_prompts": len(eval_prompts),
        "eval_prompt": mean(eval_prompts["prompt"]),
        "judge_prompt": rate * words(judge_prompt),
        "judge_prefix": rate * words(judge_prompt.partition("{instruction}")[0]),
        "few_shot_prompt": rate * words(few_shot_prompt),
    }


def words(text: str) -> int:
    """Words, marks and newlines of a text."""
    return len(_PIECE.findall(text))


def expected(loop: LoopParams, estimate: EstimateParams) -> Expected:
    """What is expected of this world, but for what the user states."""
    world = MICROWORLD if loop.world == "microworld" else ENGLISH
    stated = {name: getattr(estimate, name) for name in Expected.model_fields}
    return world.model_copy(update={name: v for name, v in stated.items() if v is not None})
