"""Models and tokenizers from disk: safetensors alone, no remote code, no network."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from srlm_kedro.errors import InputError
from srlm_kedro.records import Checkpoint


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode and its tokenizer."""

    model: Any
    tokenizer: Any
    ends: tuple[int, ...]
    """Every token that ends a completion."""

    @property
    def positions(self) -> int | None:
        """Longest sequence the model can see, in tokens; None when it names no limit."""
        config = self.model.config.get_text_config(decoder=True)
        return getattr(config, "max_position_embeddings", None)


def load(checkpoint: Checkpoint, dtype: str, device: str) -> Loaded:
    """The checkpoint's weights and tokenizer.

    Raises:
        InputError: The folder is no readable Hugging Face checkpoint.
    """
    if not (checkpoint.path / "config.json").is_file():
        raise InputError(
            f"{checkpoint.name}: {checkpoint.path} holds no config.json, so it is no Hugging Face "
            "checkpoint. Make the model first, or correct its path in the catalog."
        )
    offline = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _no_progress_bar():
            tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, **offline)
            model = AutoModelForCausalLM.from_pretrained(
                checkpoint.path, dtype=_dtype(dtype), use_safetensors=True, **offline
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{checkpoint.name}: {checkpoint.path} cannot be read: {error}") from error
    model = model.to(device).eval().requires_grad_(False)
    return Loaded(model, tokenizer, _ends(model, tokenizer))


def fingerprint(path: Path) -> tuple[Any, ...]:
    """Changes when a file of the checkpoint is replaced."""
    stats = [(file.name, file.stat()) for file in sorted(path.glob("*")) if file.is_file()]
    return (str(path.resolve()), *((name, s.st_mtime_ns, s.st_size) for name, s in stats))


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keeps the library from drawing a bar for each loading; stages load often."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _dtype(name: str) -> Any:
    return name if name == "auto" else getattr(torch, name)


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """End tokens named by the generation config (one or a list), the config and the tokenizer."""
    named = [
        model.generation_config.eos_token_id,
        model.config.get_text_config(decoder=True).eos_token_id,
        tokenizer.eos_token_id,
    ]
    lists = [value if isinstance(value, list | tuple) else [value] for value in named]
    return tuple(sorted({end for ends in lists for end in ends if end is not None}))
