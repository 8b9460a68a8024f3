"""A checkpoint's files as a model in memory: full weights, or an adapter merged into its base."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.engines.fitting import ill_fitting, size_faults
from srlm_kedro.engines.template import Argument, bind
from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint

ADAPTER = "adapter_config.json"
"""The file that tells an adapter's folder from a full checkpoint's."""


def is_adapter(checkpoint: Checkpoint) -> bool:
    """Whether the folder holds an adapter alone, which stands on a base elsewhere."""
    return (checkpoint.path / ADAPTER).is_file()


def base_of(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint that an adapter stands on.

    Raises:
        InputError: There is none where the adapter's configuration says.
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
    """The full checkpoint at the bottom: the given one, or what its adapter stands on.

    Raises:
        InputError: A folder holds no config.json, or an adapter's base is not there.
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
    """The model's configuration, an adapter's being its base's."""
    return AutoConfig.from_pretrained(root_of(checkpoint).path, **_local(trust_remote_code))


def positions_of(config: Any) -> int | None:
    """Longest sequence that a model can see, in tokens; None when it names no limit."""
    return getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)


def read_model(
    checkpoint: Checkpoint, dtype: Any, trust_remote_code: bool = False, **options: Any
) -> Any:
    """The model; an adapter is merged into its base in float32 and rounded to `dtype` then.

    Args:
        checkpoint: A full checkpoint's folder or an adapter's.
        dtype: Precision of the weights.
        trust_remote_code: Lets the checkpoint run Python code of its own.
        options: Further arguments of `from_pretrained`.
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
                raise ill_fitting(checkpoint, faults) from error
            raise
    from peft import PeftModel

    _refuse_pickle(checkpoint)
    base = read_model(base_of(checkpoint), torch.float32, trust_remote_code, **options)
    with warnings.catch_warnings():
        # peft 0.21 itself still reads the name that transformers 5 renamed.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is depr", FutureWarning)
        model = PeftModel.from_pretrained(base, checkpoint.path).merge_and_unload()
    model.requires_grad_(True)  # frozen by peft
    return model.to(dtype)


def refuse_encoder(checkpoint: Checkpoint, trust_remote_code: bool = False) -> None:
    """Raises InputError where another part than the one that writes reads the prompt."""
    config = read_config(checkpoint, trust_remote_code)
    if config.is_encoder_decoder:
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds an encoder and a decoder "
            f"({config.model_type}). Here the prompt and its answer are one text, which a causal "
            "language model reads and writes. Start from one."
        )


def read_tokenizer(
    checkpoint: Checkpoint,
    trust_remote_code: bool = False,
    template: Mapping[str, Argument] | None = None,
) -> Any:
    """The tokenizer whose files lie in the folder.

    With `template`, empty or not, its chat template has these arguments and one date (`bind`);
    None leaves it as it lies there.
    """
    local = _local(trust_remote_code)
    if is_adapter(checkpoint):
        local["config"] = read_config(checkpoint, trust_remote_code)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, **local)
    if template is not None:
        bind(tokenizer, template, checkpoint.name)
    return tokenizer


def unreadable(checkpoint: Checkpoint, error: Exception) -> InputError:
    """The error to raise where a library could not read a checkpoint."""
    if isinstance(error, InputError):
        return error
    hint = ""
    if "trust_remote_code" in str(error):
        hint = " Set the engine's option trust_remote_code, if you trust that code."
    said = str(error).split("Please pass")[0].strip()
    return InputError(f"{checkpoint.name}: {checkpoint.path} cannot be read: {said}{hint}")


def _local(trust_remote_code: bool) -> dict[str, Any]:
    return {"local_files_only": True, "trust_remote_code": trust_remote_code}


def _refuse_pickle(checkpoint: Checkpoint) -> None:
    if not (checkpoint.path / "adapter_model.safetensors").is_file():
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds no adapter_model.safetensors. Adapters "
            "are read from safetensors alone."
        )
