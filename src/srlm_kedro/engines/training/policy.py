"""The model under training: loaded with dropout on, saved as if training had never touched it."""

import copy
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint

_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_OTHER_HEADS = ("classifier", "summary")
"""Prefixes of dropout fields that belong to heads other than the language model's."""


@dataclass(frozen=True)
class Policy:
    """A model in float32, its tokenizer, and the configurations it came with."""

    model: Any
    tokenizer: Any
    config: Any
    generation_config: Any

    @property
    def positions(self) -> int | None:
        """Longest sequence the model can see, in tokens; None when it names no limit."""
        return getattr(self.config.get_text_config(decoder=True), "max_position_embeddings", None)

    def save(self, checkpoint: Checkpoint, work_dir: Path | None) -> Checkpoint:
        """A new scratch folder with the weights as they are now.

        Dropout and padding leave no trace in the configurations, and the tokenizer's files are
        those of `checkpoint`. The weights stay in float32: a step of 1e-6 would
        be lost in bfloat16.
        """
        self.model.config = self.config
        self.model.generation_config = self.generation_config
        folder = Path(tempfile.mkdtemp(prefix="model-", dir=work_dir))
        self.model.save_pretrained(folder)
        _copy_tokenizer(checkpoint, folder)
        return Checkpoint(folder, "scratch")


def load_policy(checkpoint: Checkpoint, dropout: float) -> Policy:
    """The checkpoint's model with `dropout` set wherever its architecture has a dropout.

    Deviation: Llama-like architectures of transformers have dropout on attention weights alone;
    where the paper put its 0.1 is not stated.

    Raises:
        InputError: The folder is no readable checkpoint, or the architecture has no dropout.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint.path, **_LOCAL)
        original = copy.deepcopy(config)
        _set_dropout(checkpoint, config, dropout)
        model = AutoModelForCausalLM.from_pretrained(
            checkpoint.path, config=config, dtype=torch.float32, use_safetensors=True, **_LOCAL
        )
        tokenizer = load_tokenizer(checkpoint)
    except (OSError, KeyError) as error:
        raise InputError(f"{checkpoint.name}: {checkpoint.path} cannot be read: {error}") from error
    original.dtype = torch.float32
    return Policy(model, tokenizer, original, copy.deepcopy(model.generation_config))


def load_reference(checkpoint: Checkpoint) -> Any:
    """The checkpoint's frozen model, without dropout."""
    model = load_policy(checkpoint, dropout=0.0).model
    return model.eval().requires_grad_(False)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's tokenizer.

    Raises:
        InputError: It has no end token, so that a model could not learn to stop.
    """
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, **_LOCAL)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{checkpoint.name}: the tokenizer in {checkpoint.path} has no end token, so responses "
            "would never end. Set eos_token in its tokenizer_config.json."
        )
    return tokenizer


def _copy_tokenizer(checkpoint: Checkpoint, folder: Path) -> None:
    # Written anew, its configuration would also hold the arguments with which it was loaded.
    for written in map(Path, load_tokenizer(checkpoint).save_pretrained(folder)):
        source = checkpoint.path / written.name
        if source.is_file():
            shutil.copyfile(source, written)


def dropout_fields(config: Any) -> list[str]:
    """Names of the configuration's dropout probabilities: `attention_dropout`, `resid_pdrop`..."""
    return [
        name
        for name, value in config.get_text_config(decoder=True).to_dict().items()
        if name.endswith(("dropout", "pdrop"))
        and not name.startswith(_OTHER_HEADS)
        and isinstance(value, int | float)
    ]


def _set_dropout(checkpoint: Checkpoint, config: Any, dropout: float) -> None:
    fields = dropout_fields(config)
    if dropout and not fields:
        raise InputError(
            f"{checkpoint.name}: the architecture {config.model_type} has no dropout, but "
            f"dropout = {dropout}. Set it to 0."
        )
    for name in fields:
        setattr(config.get_text_config(decoder=True), name, dropout)
