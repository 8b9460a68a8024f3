"""What a model's folder must hold, read from its files alone: no library is imported."""

import json
import sys
from pathlib import Path
from typing import Any

from srlm_kedro.datasets.model_vocabulary import vocabulary_faults
from srlm_kedro.errors import InputError

_SCRIPTED = "model.json"
"""The record of a scripted model, which has no weights."""
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LFS = b"version https://git-lfs"
_LONGEST_HEADER = 100_000_000


def checkpoint_faults(path: Path) -> list[str]:
    """Why a folder is no checkpoint: every reason, or none."""
    if not path.is_dir():
        return ["there is no such folder"]
    if (path / _SCRIPTED).exists():
        return []
    adapter = (path / _ADAPTER[0]).exists()
    model = _adapter_faults(path) if adapter else [*_weights_faults(path), *_config_faults(path)]
    return [*model, *_tokenizer_faults(path)]


def refuse_unless_checkpoint(path: Path) -> None:
    """Raises InputError unless `path` holds a model."""
    if faults := checkpoint_faults(path):
        raise InputError(
            f"{path}: a checkpoint is a Hugging Face folder (config.json, *.safetensors, "
            f"tokenizer), but {' and '.join(faults)}. Name another folder, or make the model first."
        )


def _weights_faults(path: Path) -> list[str]:
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
        return [_pickled(pickles[0]) if pickles else "it holds no *.safetensors file"]
    faults = [fault for file in weights for fault in _safetensors_faults(file)]
    index = _json(path / "model.safetensors.index.json")
    named = set(index.get("weight_map", {}).values()) if index else set()
    missing = sorted(named - {file.name for file in weights})
    return faults + [f"it lacks {name}, which its index names" for name in missing]


def _pickled(name: str) -> str:
    return (
        f"its weights are pickles ({name}), which run code when they are read, so safetensors "
        "alone are taken (where you trust them, load them with transformers' "
        "AutoModelForCausalLM.from_pretrained and write them with save_pretrained)"
    )


def _safetensors_faults(file: Path) -> list[str]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(len(_LFS))
        if start == _LFS:
            return [f"its {file.name} is a Git LFS pointer without the weights (run git lfs pull)"]
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            return [f"its {file.name} is cut off or no safetensors file ({size} bytes)"]
        stream.seek(8)
        header = stream.read(length)
    try:
        tensors = json.loads(header)
        ends = [one["data_offsets"][1] for name, one in tensors.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"its {file.name} is no safetensors file: its header is no JSON"]
    whole = 8 + length + max(ends, default=0)
    return [] if size == whole else [f"its {file.name} is cut off: {size} of {whole} bytes"]


def _adapter_faults(path: Path) -> list[str]:
    faults = [f"it holds no {name}" for name in _ADAPTER if not (path / name).exists()]
    if not faults:
        faults += _safetensors_faults(path / _ADAPTER[1])
    base = (_json(path / _ADAPTER[0]) or {}).get("base_model_name_or_path")
    if not base or not Path(base).is_dir():
        faults.append(f"the base model its adapter_config.json names ({base}) is no folder")
    return faults


def _config_faults(path: Path) -> list[str]:
    file = path / "config.json"
    if not file.exists():
        return ["it holds no config.json"]
    config = _json(file)
    if config is None:
        return ["its config.json is no JSON"]
    return [] if config.get("model_type") else ["its config.json names no model_type"]


def _tokenizer_faults(path: Path) -> list[str]:
    if not any(path.glob("tokenizer*.json")):
        return ["it holds no tokenizer (tokenizer.json; copy it from the model it was made from)"]
    if not (path / "tokenizer.json").exists():
        return []
    config = _json(path / "config.json") or {}
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    return vocabulary_faults(path, size or sys.maxsize)


def _json(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
