"""A nested state on disk, whole or not at all: tensors as safetensors, the rest as JSON.

Nothing is pickled: reading a state runs no code of whoever wrote it.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from srlm_kedro.freshness.digests import file_digest

SCRATCH = "writing-"
"""How the name of a folder begins that is still being written."""
_SHARD = 2**28
"""Bytes of tensors a file, so that little is copied to the CPU at once."""
_SUMS, _TREES = "sums.json", "state.json"


class DamagedError(Exception):
    """A folder does not hold what was written into it."""


class Snapshot:
    """A state on disk; its parts are read one by one, when they are asked for."""

    def __init__(self, folder: Path):
        """Reads all files once.

        Raises:
            DamagedError: A file is missing, or its sum is not the one written down.
        """
        try:
            sums = json.loads((folder / _SUMS).read_text("utf-8"))
            changed = [name for name, kept in sums.items() if file_digest(folder / name) != kept]
        except (OSError, ValueError, AttributeError) as error:
            raise DamagedError(str(error)) from error
        if changed:
            raise DamagedError(f"{', '.join(changed)}: not as written")
        self._folder = folder
        self._trees = json.loads((folder / _TREES).read_text("utf-8"))

    def __getitem__(self, part: str) -> Any:
        """The part as it was, its tensors on the CPU and with memory of their own."""
        tensors: dict[str, torch.Tensor] = {}
        for file in self._folder.glob(f"{part}-*.safetensors"):
            tensors |= {key: tensor.clone() for key, tensor in load_file(file).items()}
        return _nested(self._trees[part], tensors)


def write(folder: Path, parts: Mapping[str, Any]) -> None:
    """Makes `folder` hold `parts`; it appears when everything is on the disk, or not at all.

    Args:
        folder: What stands in its place, which can only be damaged, gives way.
        parts: By name, each made of dicts, lists, tuples, tensors and JSON's plain values.

    Raises:
        TypeError: A part holds anything else.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
    try:
        _fill(scratch, parts)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
        _flush(folder.parent)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _fill(folder: Path, parts: Mapping[str, Any]) -> None:
    trees = {}
    for name, part in parts.items():
        tensors: list[torch.Tensor] = []
        trees[name] = _plain(part, tensors)
        for number, shard in enumerate(_shards(tensors)):
            save_file(shard, folder / f"{name}-{number}.safetensors")
    (folder / _TREES).write_text(json.dumps(trees), "utf-8")
    sums = {file.name: file_digest(file) for file in sorted(folder.iterdir())}
    (folder / _SUMS).write_text(json.dumps(sums, indent=1), "utf-8")
    for path in (*folder.iterdir(), folder):
        _flush(path)


def _shards(tensors: Sequence[torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    shard: dict[str, torch.Tensor] = {}
    held = 0
    for number, tensor in enumerate(tensors):
        if shard and held + tensor.nbytes > _SHARD:
            yield shard
            shard, held = {}, 0
        shard[str(number)] = tensor.detach().cpu().contiguous()
        held += tensor.nbytes
    if shard:
        yield shard


def _plain(value: Any, tensors: list[torch.Tensor]) -> Any:
    """The value as JSON; its tensors go into the list, and their numbers stand for them."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, Mapping):
        # JSON's own keys are strings alone.
        return {"pairs": [[key, _plain(held, tensors)] for key, held in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(held, tensors) for held in value]}
    if isinstance(value, list):
        return [_plain(held, tensors) for held in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} is neither a tensor nor a plain value")


def _nested(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(tree, list):
        return [_nested(held, tensors) for held in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, held),) = tree.items()
    if kind == "tensor":
        return tensors[held]
    if kind == "pairs":
        return {key: _nested(one, tensors) for key, one in held}
    return tuple(_nested(one, tensors) for one in held)


def _flush(path: Path) -> None:
    """Waits until the disk has it: a machine that loses power keeps the order of writing."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
