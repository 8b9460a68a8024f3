"""Whether a tokenizer and weights fit the configuration that lies beside them."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from srlm_kedro.errors import InputError, summary
from srlm_kedro.records import Checkpoint

_NAMED = ("bos_token_id", "eos_token_id", "unk_token_id", "pad_token_id")
"""Special tokens that are written before, behind or beside texts, or stand for what is unknown."""


def refuse_larger_tokenizer(checkpoint: Checkpoint, tokenizer: Any, config: Any) -> None:
    """Refuses a tokenizer that feeds ids for which the model has no embedding.

    A special token without an embedding does no harm as long as nothing writes it, as Gemma 3's
    placeholder for images in its models of text.

    Raises:
        InputError: Which token is the first beyond, and both sizes.
    """
    size = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    beyond = {} if size is None else _fed_beyond(tokenizer, size)
    if beyond:
        number = min(beyond)
        raise InputError(
            f"{checkpoint.name}: the tokenizer in {checkpoint.path} has {len(tokenizer)} tokens, "
            f"of which {beyond[number]!r} has the id {number}, but the model has {size} embeddings "
            f"(ids 0 to {size - 1}). They belong to different models, or tokens were added to one "
            "of them alone. Put the model's own tokenizer there."
        )


def size_faults(checkpoint: Checkpoint, config: Any, trust_remote_code: bool = False) -> list[str]:
    """Weights whose sizes are others than the configuration's, one line each."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    found = _shapes(checkpoint.path)
    return [
        f"{name} is {_sizes(found[name])}, by config.json {_sizes(wanted[name])}"
        for name in found
        if name in wanted and wanted[name] != found[name]
    ]


def ill_fitting(checkpoint: Checkpoint, faults: list[str]) -> InputError:
    """The error to raise for such weights."""
    heading = (
        f"{checkpoint.name}: {checkpoint.path} holds weights that its config.json does not "
        "describe. Put the configuration there that they were made with."
    )
    return InputError(summary(heading, faults))


def _fed_beyond(tokenizer: Any, size: int) -> dict[int, str]:
    """Tokens with ids from `size` on that a text can become, or that are written around it."""
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= size}
    if not beyond:
        return {}
    added = tokenizer.added_tokens_decoder
    template = str(tokenizer.chat_template)
    written = {getattr(tokenizer, name) for name in _NAMED} | set(tokenizer("")["input_ids"])
    return {
        number: token
        for number, token in beyond.items()
        if number in written or token in template or not (number in added and added[number].special)
    }


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Each tensor's shape, from the headers of the files."""
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        found |= {name: one["shape"] for name, one in header.items() if name != "__metadata__"}
    return found


def _sizes(shape: list[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"
