"""A GGUF file as an ordinary Hugging Face folder: weights dequantised, tokenizer, configuration.

transformers reads the file, and refuses to save what it read, because it counts as quantised. So
the weights move into a plain model of the same class.
"""

import copy
import io
from collections import Counter
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from srlm_kedro.engines.gguf.header import Header
from srlm_kedro.errors import InputError

_OF_THE_FILE = ("quantization_config", "_model_name_or_path")
"""Entries of the configuration that say where the model came from."""
_INSTALL = "pip install 'srlm_kedro[gguf]'"


def convert(file: Path, header: Header, folder: Path, dtype: str) -> str:
    """Writes the folder of the model in a GGUF file. The same file gives the same bytes.

    Args:
        file: The GGUF file.
        header: Of the same file; it has no faults.
        folder: Where to write; it is made.
        dtype: `float32`, or `bfloat16`, to which the dequantised weights are rounded.

    Returns:
        The types of the file's tensors, the most frequent first: `Q4_1 (210), F32 (61)`.

    Raises:
        InputError: The package gguf is missing, or transformers cannot read the file as a causal
            language model with all of its weights.
    """
    kinds = _kinds(file, header)
    source = str(file.absolute())  # not its name alone: a file of the working folder comes first
    try:
        with _no_progress_bars():
            model, loaded = AutoModelForCausalLM.from_pretrained(
                file.parent,
                gguf_file=source,
                local_files_only=True,
                dtype=getattr(torch, dtype),
                quantization_config=GgufConfig(dequantize=True),
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=source)
    except MemoryError:
        raise
    except Exception as error:  # transformers and tokenizers say in any way that a file is damaged
        if isinstance(error, OSError) and error.errno:  # the disk's fault
            raise
        raise _unreadable(file, header, error) from error
    lacking = sorted([*loaded["missing_keys"], *map(str, loaded["mismatched_keys"])])
    if lacking:
        raise InputError(
            f"{file}: it must hold every weight of a {type(model).__name__}, but {len(lacking)} "
            f"are missing or have another size ({', '.join(lacking[:5])}). Take another GGUF file "
            "of the model, or its folder of safetensors."
        )
    with _no_progress_bars():
        _plain(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return kinds


def _no_progress_bars() -> redirect_stderr[io.StringIO]:
    """Hides transformers' bars. One of them obeys no setting."""
    return redirect_stderr(io.StringIO())


def _plain(model: Any) -> Any:
    """A model of the same class with the same weights, which does not count as quantised."""
    config = copy.deepcopy(model.config)
    for name in _OF_THE_FILE:
        if hasattr(config, name):
            delattr(config, name)
    with torch.device("meta"):  # the weights are taken over, so none are made
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _kinds(file: Path, header: Header) -> str:
    try:
        from gguf import GGMLQuantizationType
    except ImportError as error:
        raise InputError(
            f"{file}: a GGUF file is read with the package `gguf`, which is not installed. "
            f"Install it: {_INSTALL}."
        ) from error
    counts = Counter(tensor.kind for tensor in header.tensors.values())
    names = {one.value: one.name for one in GGMLQuantizationType}
    return ", ".join(
        f"{names.get(kind, f'type {kind}')} ({count})" for kind, count in counts.most_common()
    )


def _unreadable(file: Path, header: Header, error: Exception) -> InputError:
    return InputError(
        f"{file}: transformers must be able to read the file as a causal language model, but of "
        f"this one ({header.architecture}: {_kinds(file, header)}) it says: "
        f"{type(error).__name__}: {error}. If the file is whole, name the model's folder of "
        "safetensors instead."
    )
