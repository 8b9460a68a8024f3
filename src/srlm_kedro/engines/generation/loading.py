"""Models and tokenizers from disk, only from safetensors files and without network access.

Code that a checkpoint brings runs only if the user allows it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers.utils import logging

from srlm_kedro.engines import chat
from srlm_kedro.engines.generation.base import folder_state
from srlm_kedro.engines.size_checks import refuse_larger_tokenizer
from srlm_kedro.engines.template import Argument
from srlm_kedro.engines.torch_device import dtype_of
from srlm_kedro.engines.weights import (
    base_of,
    is_adapter,
    positions_of,
    read_config,
    read_model,
    read_tokenizer,
    root_of,
    unreadable,
)
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
        """Longest sequence the model can see, in tokens; None if it names no limit."""
        return positions_of(self.model.config)


def load(
    checkpoint: Checkpoint,
    dtype: str,
    device: str,
    trust_remote_code: bool = False,
    template: Mapping[str, Argument] = MappingProxyType({}),
) -> Loaded:
    """The checkpoint's weights and tokenizer; an adapter is merged into its base.

    Args:
        checkpoint: Its folder.
        dtype: Precision of the weights; `auto` takes bfloat16 on a GPU made for it, and float32
            elsewhere.
        device: `cpu`, `cuda`, ...
        trust_remote_code: Lets the checkpoint run Python code of its own.
        template: Arguments of its chat template.

    Raises:
        InputError: The folder is no readable Hugging Face checkpoint, its weights have other sizes
            than its configuration says, its tokenizer has tokens for which the model has no
            embedding, or its chat template does not read one of the arguments.
    """
    root_of(checkpoint)
    tokenizer, _ = read_limits(checkpoint, trust_remote_code, template)
    try:
        with _no_progress_bar():
            model = read_model(checkpoint, dtype_of(dtype, device), trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(checkpoint, error) from error
    model = model.to(device).eval().requires_grad_(False)
    return Loaded(model, tokenizer, _ends(model, tokenizer))


def read_limits(
    checkpoint: Checkpoint,
    trust_remote_code: bool = False,
    template: Mapping[str, Argument] = MappingProxyType({}),
) -> tuple[Any, int | None]:
    """The tokenizer and the longest sequence that the model can see; no weights are read.

    Raises:
        InputError: The folder is no readable Hugging Face checkpoint, or its tokenizer has tokens
            for which the model has no embedding.
    """
    try:
        config = read_config(checkpoint, trust_remote_code)
        tokenizer = read_tokenizer(checkpoint, trust_remote_code, template)
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(checkpoint, error) from error
    refuse_larger_tokenizer(checkpoint, tokenizer, config)
    return tokenizer, positions_of(config)


def files_key(path: Path) -> tuple[Any, ...]:
    """A key that changes if a file of the checkpoint, or of its adapter's base, is replaced.

    Model cards do not count: they are written later.
    """
    key = (str(path.resolve()), *folder_state(path))
    checkpoint = Checkpoint(path, path.name)
    return key + files_key(base_of(checkpoint).path) if is_adapter(checkpoint) else key


def end_tokens(configured: Iterable[Any], tokenizer: Any) -> tuple[int, ...]:
    """What ends a turn, and every end token (one or a list) of the configurations and tokenizer."""
    named = [*configured, tokenizer.eos_token_id, chat.end_of_turn(tokenizer)]
    lists = [value if isinstance(value, list | tuple) else [value] for value in named]
    return tuple(sorted({end for ends in lists for end in ends if end is not None}))


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keeps transformers from drawing a progress bar for each loading; stages load often."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    config = model.config.get_text_config(decoder=True)
    named = [model.generation_config.eos_token_id, getattr(config, "eos_token_id", None)]
    return end_tokens(named, tokenizer)
