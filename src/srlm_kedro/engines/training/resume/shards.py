"""What each rank keeps of a state whose tensors are sharded, and how it gets its part back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from srlm_kedro.engines.training.ranks import Ranks
from srlm_kedro.engines.training.resume.snapshots import DamagedError, Snapshot, write
from srlm_kedro.freshness.digests import write_atomically

_COMPLETE, _RANK = "complete.json", "rank-"
_SHARD, _OWN = "shard", "own"


def write_parts(folder: Path, parts: Mapping[str, Any], ranks: Ranks) -> None:
    """Writes this rank's part of a state; it counts once `complete` has been called.

    Raises:
        OSError, SafetensorError: It cannot be written.
    """
    write(folder / f"{_RANK}{ranks.rank}", _local(parts))


def begin(folder: Path) -> None:
    """Makes what is in the folder count no longer."""
    (folder / _COMPLETE).unlink(missing_ok=True)


def complete(folder: Path, ranks: Ranks) -> None:
    """Makes a state count, whose parts all ranks have written."""
    held = {"ranks": ranks.size, "shards": ranks.shards}
    write_atomically(folder / _COMPLETE, json.dumps(held).encode())


class Parts:
    """This rank's part of a kept state. It may have been kept by another number of ranks."""

    def __init__(self, folder: Path, ranks: Ranks):
        """Checks the digests of the files that this rank needs.

        Raises:
            DamagedError: A file is missing or changed.
        """
        try:
            held = json.loads((folder / _COMPLETE).read_text("utf-8"))
            same = (held["ranks"], held["shards"]) == (ranks.size, ranks.shards)
            needed = [ranks.rank] if same else range(held["shards"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedError(str(error)) from error
        self.same = same
        """Whether as many ranks have kept it."""
        self._snapshots = [Snapshot(folder / f"{_RANK}{number}") for number in needed]

    def __getitem__(self, part: str) -> Any:
        """The part as it was kept; of a sharded tensor it holds what this rank kept, or all."""
        return self._joined([one[part] for one in self._snapshots])

    def _joined(self, trees: Sequence[Any]) -> Any:
        first = trees[0]
        if isinstance(first, Mapping):
            if set(first) == {_SHARD}:
                return torch.cat([tree[_SHARD] for tree in trees])
            if set(first) == {_OWN}:
                return torch.stack([tree[_OWN] for tree in trees]).mean(0)
            return {key: self._joined([tree[key] for tree in trees]) for key in first}
        if isinstance(first, list | tuple):
            return type(first)(map(self._joined, zip(*trees, strict=True)))
        return first


def own(value: torch.Tensor) -> dict[str, torch.Tensor]:
    """A value of which each rank has its own; another number of ranks takes the mean."""
    return {_OWN: value}


def as_part_of(kept: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A kept tensor, sharded as `like` is; a number stays one.

    Args:
        kept: This rank's part, or the whole.
        like: A weight.
    """
    if not isinstance(like, DTensor) or kept.dim() == 0:
        return kept
    kept, mesh, places = kept.to(like.device), like.device_mesh, like.placements
    if kept.shape == like.shape:
        return distribute_tensor(kept, mesh, places, src_data_rank=None)
    sizes = {"shape": like.shape, "stride": like.stride()}
    return DTensor.from_local(kept, mesh, places, run_check=False, **sizes)


def _local(value: Any) -> Any:
    """The value, with each sharded tensor as this rank's part of it, marked."""
    if isinstance(value, DTensor):
        return {_SHARD: value.to_local()}
    if isinstance(value, Mapping):
        return {key: _local(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_local, value))
    return value
