"""How a task wants its answers drawn, and what our sampler cannot do of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from srlm_kedro.engines.generation.base import Sampling

_OURS = {"do_sample", "temperature", "top_p", "until", "max_gen_toks"}
_ONLY_SAMPLED = {"top_k", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"}
"""What changes no greedy answer."""
_OF_THE_MODEL = {
    *_ONLY_SAMPLED,
    *("repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size"),
    *("num_beams", "penalty_alpha", "guidance_scale", "exponential_decay_length_penalty"),
    *("min_length", "min_new_tokens", "forced_bos_token_id", "forced_eos_token_id"),
    *("bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens"),
}
"""What a model's own generation_config.json may ask for that changes its answers."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "top_k": (0, -1),
    "min_p": (0,),
    "typical_p": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "repetition_penalty": (1,),
    "encoder_repetition_penalty": (1,),
    "no_repeat_ngram_size": (0,),
    "num_beams": (1,),
    "guidance_scale": (1,),
    "min_length": (0,),
    "min_new_tokens": (0,),
}
"""Values that change nothing; None and empty lists change nothing either."""


@dataclass(frozen=True)
class Wanted:
    """How one group of answers is drawn."""

    sampling: Sampling
    stop: tuple[str, ...]
    """The task's stop strings, and the text of the model's end token after them."""
    beyond: tuple[str, ...]
    """What the task or the model asks for and our sampler does not have."""


def wanted(
    arguments: Mapping[str, Any], configured: Mapping[str, Any], end: str, most: int
) -> Wanted:
    """Reads a request's generation arguments as lm-eval's Hugging Face class does.

    Deviation: without a `top_k` there is none, as in lm-eval's other classes. transformers would
    draw sampled answers from the 50 most probable tokens.

    Args:
        arguments: The task's `generation_kwargs`.
        configured: What the model's generation_config.json says; the task's arguments come first.
        end: The text of the model's end token.
        most: Longest answer in tokens if the task does not say.
    """
    given = dict(normalize_gen_kwargs(dict(arguments), most))
    stop = tuple(string for string in handle_stop_sequences(given["until"], end) if string)
    temperature = float(given.get("temperature") or 0.0) if given["do_sample"] else 0.0
    nucleus = given.get("top_p", configured.get("top_p"))
    asked = {key: value for key, value in configured.items() if key in _OF_THE_MODEL}
    asked |= {key: value for key, value in given.items() if key not in _OURS}
    beyond = [
        key
        for key, value in asked.items()
        if not _is_neutral(key, value) and (temperature > 0 or key not in _ONLY_SAMPLED)
    ]
    if given["do_sample"] and temperature == 0:
        beyond.append("do_sample without a temperature")
    sampling = Sampling(
        n=1,
        temperature=temperature,
        top_p=1.0 if nucleus is None or temperature == 0 else float(nucleus),
        max_new_tokens=given["max_gen_toks"],
        stop=tuple(string for string in stop if string != end),
    )
    return Wanted(sampling, stop, tuple(sorted(beyond)))


def _is_neutral(key: str, value: Any) -> bool:
    return value is None or value == [] or value in _NEUTRAL.get(key, ())
