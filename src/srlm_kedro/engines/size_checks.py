"""Checks that a tokenizer and weights have the sizes that the model's configuration states."""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint

_WRITTEN_TOKENS = ("bos_token_id", "eos_token_id", "unk_token_id", "pad_token_id")
"""Special tokens that are written around texts, or that replace unknown pieces."""


def refuse_larger_tokenizer(checkpoint: Checkpoint, tokenizer: Any, config: Any) -> None:
    """Refuses a tokenizer that feeds ids for which the model has no embedding.

    A special token without an embedding does no harm if nothing writes it. Gemma 3's placeholder
    for images is one, in its models that read only text.

    Raises:
        InputError: It names the first such token and both sizes.
    """
    size = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    beyond = {} if size is None else _fed_beyond(tokenizer, size)
    if beyond:
        number = min(beyond)
        raise InputError(
            f"{checkpoint.name}: the tokenizer in {checkpoint.path} has {len(tokenizer)} tokens, "
            f"of which {beyond[number]!r} has the id {number}, but the model has {size} embeddings "
            f"(ids 0 to {size - 1}). They belong to different models, or tokens were added to only "
            "one of them. Put the model's own tokenizer there."
        )


def parameters_of(checkpoint: Checkpoint) -> int:
    """The number of weights in the checkpoint's safetensors files; 0 if it has none."""
    return sum(math.prod(shape) for shape in _shapes(checkpoint.path).values())


def size_faults(checkpoint: Checkpoint, config: Any, trust_remote_code: bool = False) -> list[str]:
    """Weights whose sizes differ from the configuration's, one line each."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    found = _shapes(checkpoint.path)
    return [
        f"{name} is {_sizes(found[name])}, by config.json {_sizes(wanted[name])}"
        for name in found
        if name in wanted and wanted[name] != found[name]
    ]


def wrong_sizes(checkpoint: Checkpoint, faults: list[str]) -> InputError:
    """The error to raise for the faults that `size_faults` found."""
    heading = (
        f"{checkpoint.name}: {checkpoint.path} holds weights that its config.json does not "
        "describe. Put the configuration there with which they were made."
    )
    return InputError(summary(heading, faults))


def _fed_beyond(tokenizer: Any, size: int) -> dict[int, str]:
    """Tokens with ids from `size` on that a text can become, or that are written around it."""
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= size}
    if not beyond:
        return {}
    added = tokenizer.added_tokens_decoder
    template = str(tokenizer.chat_template)
    named = {getattr(tokenizer, name) for name in _WRITTEN_TOKENS}
    written = named | set(tokenizer("")["input_ids"])
    return {
        number: token
        for number, token in beyond.items()
        if number in written or token in template or not (number in added and added[number].special)
    }


def _shapes(folder: Path) -> dict[str, list[int]]:
    """The shape of each tensor in the safetensors files; no weight is read."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return found


def _sizes(shape: list[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"
