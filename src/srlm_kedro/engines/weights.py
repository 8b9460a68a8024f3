"""A checkpoint's files as a model in memory: full weights, or an adapter merged into its base."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines.size_checks import size_faults, wrong_sizes
from srlm_kedro.engines.template import Argument, bind
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint

ADAPTER = "adapter_config.json"
"""The file by which an adapter's folder differs from a full checkpoint's."""


def is_adapter(checkpoint: Checkpoint) -> bool:
    """Whether the folder holds only an adapter, whose base is elsewhere."""
    return (checkpoint.path / ADAPTER).is_file()


def base_of(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint that an adapter was trained on.

    Raises:
        InputError: It is not where the adapter's configuration says.
    """
    named = json.loads((checkpoint.path / ADAPTER).read_text("utf-8"))["base_model_name_or_path"]
    base = Checkpoint(Path(str(named)), f"{checkpoint.name}'s base")
    if not base.path.is_dir():
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} is an adapter on {named}, and no such folder is "
            f"there. Put the base model back, or correct base_model_name_or_path in its {ADAPTER}."
        )
    return base


def root_of(checkpoint: Checkpoint) -> Checkpoint:
    """The full checkpoint below all adapters; a full checkpoint is its own root.

    Raises:
        InputError: A folder holds no config.json, or an adapter's base is missing.
    """
    while is_adapter(checkpoint):
        checkpoint = base_of(checkpoint)
    if not (checkpoint.path / "config.json").is_file():
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds no config.json, so it is no Hugging Face "
            "checkpoint. Make the model first, or correct its path in the catalog."
        )
    return checkpoint


def read_config(checkpoint: Checkpoint, trust_remote_code: bool = False) -> Any:
    """The model's configuration; an adapter has that of its base."""
    return AutoConfig.from_pretrained(root_of(checkpoint).path, **_local(trust_remote_code))


def positions_of(config: Any) -> int | None:
    """Longest sequence that a model can see, in tokens; None if it names no limit."""
    return getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)


def config_size(config: Any, name: str) -> int:
    """A size in a model's configuration: the largest if layers differ, 0 if it has none."""
    try:
        value = getattr(config, name, None) or 0
    except RuntimeError:  # what transformers raises if each layer has its own value
        value = [getattr(one, name, None) or 0 for one in config.per_layer_config]
    return max(value) if isinstance(value, list | tuple) else value


def read_model(
    checkpoint: Checkpoint, dtype: Any, trust_remote_code: bool = False, **options: Any
) -> Any:
    """The model; an adapter is merged into its base in float32 and then rounded to `dtype`.

    Args:
        checkpoint: The folder of a full checkpoint or of an adapter.
        dtype: Precision of the weights.
        trust_remote_code: Lets the checkpoint run Python code of its own.
        options: Further arguments of `from_pretrained`.

    Raises:
        InputError: The folder holds an encoder, weights of other sizes than its configuration
            says, or an adapter that is no safetensors file.
    """
    local = _local(trust_remote_code)
    if not is_adapter(checkpoint):
        refuse_encoder(checkpoint, trust_remote_code)
        try:
            return AutoModelForCausalLM.from_pretrained(
                checkpoint.path, dtype=dtype, use_safetensors=True, **local, **options
            )
        except RuntimeError as error:
            config = read_config(checkpoint, trust_remote_code)
            if faults := size_faults(checkpoint, config, trust_remote_code):
                raise wrong_sizes(checkpoint, faults) from error
            raise
    from peft import PeftModel

    _refuse_pickle(checkpoint)
    base = read_model(base_of(checkpoint), torch.float32, trust_remote_code, **options)
    with warnings.catch_warnings():
        # peft 0.21 itself still reads the name that transformers 5 renamed.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is depr", FutureWarning)
        model = PeftModel.from_pretrained(base, checkpoint.path).merge_and_unload()
    model.requires_grad_(True)  # peft froze them
    return model.to(dtype)


def refuse_encoder(checkpoint: Checkpoint, trust_remote_code: bool = False) -> None:
    """Raises InputError if an encoder reads the prompt and a decoder writes the response."""
    config = read_config(checkpoint, trust_remote_code)
    if config.is_encoder_decoder:
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds an encoder and a decoder "
            f"({config.model_type}). Here the prompt and its response are one text, which a causal "
            "language model reads and writes. Start from one."
        )


def read_tokenizer(
    checkpoint: Checkpoint,
    trust_remote_code: bool = False,
    template: Mapping[str, Argument] | None = None,
) -> Any:
    """The tokenizer in the checkpoint's folder.

    With a `template`, even an empty one, the chat template gets these arguments and one fixed date
    (see `bind`). With None it stays as it is in the folder.
    """
    local = _local(trust_remote_code)
    if is_adapter(checkpoint):
        local["config"] = read_config(checkpoint, trust_remote_code)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, **local)
    if template is not None:
        bind(tokenizer, template, checkpoint.name)
    return tokenizer


def unreadable(checkpoint: Checkpoint, error: Exception) -> InputError:
    """The error to raise if a library could not read a checkpoint."""
    if isinstance(error, InputError):
        return error
    hint = ""
    if "trust_remote_code" in str(error):
        hint = " Set the engine's option trust_remote_code, if you trust that code."
    reason = str(error).split("Please pass")[0].strip()
    return InputError(f"{checkpoint.name}: {checkpoint.path} cannot be read: {reason}{hint}")


def _local(trust_remote_code: bool) -> dict[str, Any]:
    return {"local_files_only": True, "trust_remote_code": trust_remote_code}


def _refuse_pickle(checkpoint: Checkpoint) -> None:
    if not (checkpoint.path / "adapter_model.safetensors").is_file():
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds no adapter_model.safetensors. Adapters "
            "are read only from safetensors files."
        )
