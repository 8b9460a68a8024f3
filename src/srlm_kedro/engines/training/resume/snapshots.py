"""A nested state on disk, written as a whole: tensors as safetensors, the rest as JSON.

Nothing is pickled, so reading a state never runs code from its files.
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
"""The first part of a folder's name while it is being written."""
_SHARD = 2**28
"""Bytes of tensors per file. It limits how much is copied to the CPU at once."""
_SUMS, _TREES = "sums.json", "state.json"


class DamagedError(Exception):
    """A folder no longer holds what was written into it."""


class Snapshot:
    """A state on disk. Each part is read when it is asked for."""

    def __init__(self, folder: Path):
        """Checks the digests of all files.

        Raises:
            DamagedError: A file is missing or changed.
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
        """The part as it was written. Its tensors are on the CPU, each in its own memory."""
        tensors: dict[str, torch.Tensor] = {}
        for file in self._folder.glob(f"{part}-*.safetensors"):
            tensors |= {key: tensor.clone() for key, tensor in load_file(file).items()}
        return _nested(self._trees[part], tensors)


def write(folder: Path, parts: Mapping[str, Any]) -> None:
    """Writes `parts` into `folder`. The folder appears only when everything is on the disk.

    Args:
        folder: An existing folder, which can only be damaged, is replaced.
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
    """The value as JSON. Its tensors go into the list, and JSON holds their numbers."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, Mapping):
        # JSON allows only strings as keys.
        return {"pairs": [[key, _plain(held, tensors)] for key, held in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(held, tensors) for held in value]}
    if isinstance(value, list):
        return [_plain(held, tensors) for held in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} is neither a tensor nor a plain value")


def _nested(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The value that `_plain` made JSON of."""
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
    """Waits until the disk has the file, so that a power cut cannot reorder what is written."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
