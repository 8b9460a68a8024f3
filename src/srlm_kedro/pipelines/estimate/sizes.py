"""How large M0 is, and how long the texts are that the loop starts from."""

import re
from typing import Any

import pandas as pd

from srlm_kedro.engines.training.params import PretrainParams
from srlm_kedro.errors import InputError
from srlm_kedro.judge.criteria import CriteriaPrompt, JudgePrompt, template_of
from srlm_kedro.pipelines.estimate.params import EstimateParams, SizeParams, expected
from srlm_kedro.pipelines.loop import LoopParams

_WORD = re.compile(r"\n|\w+|[^\w\s]")
_VOCABULARY = 214
"""Tokens of the microworld's default corpus. Measured."""


def size_model(
    m0_size: dict[str, Any],
    loop: LoopParams,
    pretraining: PretrainParams,
    estimate: EstimateParams,
) -> dict[str, Any]:
    """M0's parameters, layers and widths: from its files, else as stated, else as pretraining says.

    `model` is its name; `source` says where the figures come from.

    Raises:
        InputError: M0 is a given model whose size is unknown. A stated size of another model does
            not count.
    """
    name, stated = m0_size["model"], estimate.model
    if "parameters" in m0_size:
        return {**m0_size, "source": "read from its files"}
    if stated is not None and (loop.world == "microworld" or _is_of(stated, name)):
        return {**stated.model_dump(), "model": name, "source": "stated in `estimate.model`"}
    if loop.world != "microworld":
        raise InputError(_unknown(name, stated))
    width, layers = pretraining.hidden_size, pretraining.layers
    block = 4 * width**2 + 3 * width * pretraining.mlp_size + 2 * width
    return {
        "model": name,
        "source": "as `pretraining` makes it",
        "parameters": _VOCABULARY * width + layers * block + width,
        "layers": layers,
        "hidden_size": width,
        "kv_size": width,
        "vocabulary": _VOCABULARY,
    }


def _is_of(stated: SizeParams, model: str) -> bool:
    """Whether a stated size is this model's, in any revision."""
    return stated.name is not None and stated.name.partition("@")[0] == model.partition("@")[0]


def _unknown(name: str, stated: SizeParams | None) -> str:
    where = (
        "the whole model is not in the hub's cache on this machine, and an estimate downloads "
        "nothing"
        if name.startswith("hub:")
        else "the folder holds no whole model"
    )
    other = ""
    if stated is not None:
        of = stated.name or "a model that it does not name (`estimate.model.name`)"
        other = f" `estimate.model` is the size of {of}."
    return (
        f"estimate: the size of M0, {name}, is unknown: {where}.{other} Put the model there, or "
        f"state its size in `estimate.model`: name: {name}, parameters, layers, hidden_size, "
        "kv_size, vocabulary; its config.json has all but the first two."
    )


def measure_texts(
    ift: pd.DataFrame,
    eft_ranked: pd.DataFrame,
    eval_prompts: pd.DataFrame,
    judge_prompt: JudgePrompt,
    few_shot_prompt: str,
    loop: LoopParams,
    estimate: EstimateParams,
) -> dict[str, float]:
    """The number of rows of each table, and the mean tokens of each kind of text."""
    rate = expected(loop, estimate).tokens_per_word

    def mean(texts: pd.Series) -> float:
        return rate * float(texts.map(_words).mean())

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
        **_judge_texts(judge_prompt, eft_ranked, rate),
        "few_shot_prompt": rate * _words(few_shot_prompt),
    }


def _judge_texts(prompt: JudgePrompt, ranked: pd.DataFrame, rate: float) -> dict[str, float]:
    """The tokens of the judge prompt without the response, and how many criteria it asks.

    A judge that is asked by criteria reads each response once, and then all questions about it.
    """
    template = template_of(prompt)
    texts = {
        "judge_prompt": rate * _words(template),
        "judge_prefix": rate * _words(template.partition("{instruction}")[0]),
        "criteria": 0.0,
        "question": 0.0,
    }
    if isinstance(prompt, CriteriaPrompt):
        asked = [prompt.rubric.criteria(text) for text in ranked["prompt"].unique()]
        questions = [sum(_words(each.question) for each in criteria) for criteria in asked]
        texts["criteria"] = sum(map(len, asked)) / len(asked)
        texts["question"] = rate * sum(questions) / max(sum(map(len, asked)), 1)
    return texts


def _words(text: str) -> int:
    """Number of words, marks and newlines."""
    return len(_WORD.findall(text))
