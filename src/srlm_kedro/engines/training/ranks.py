"""The processes that train one model together, and what each of them reads."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DistributedConfig


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together, and which of them this one is."""

    size: int = 1
    rank: int = 0
    copies: int = 1
    """The weights are sharded over `size / copies` ranks, and kept so many times."""
    here: int = 1
    """How many of them share this machine."""

    @property
    def many(self) -> bool:
        """Whether there is more than one."""
        return self.size > 1

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    @property
    def shards(self) -> int:
        """In how many parts the weights are."""
        return self.size // self.copies

    def micro_batches(self, rows: int, micro_batch_size: int) -> int:
        """How many micro-batches each rank computes for a step of so many rows."""
        return math.ceil(math.ceil(rows / self.size) / micro_batch_size)

    def sharding(self) -> dict[str, Any]:
        """Arguments of `from_pretrained` by which each rank reads its part of the weights."""
        if not self.many:
            return {}
        sizes = {"fsdp_size": self.shards, "dp_replicate_size": self.copies}
        return {"distributed_config": DistributedConfig(**sizes)}

    def same(self, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the first rank makes; the others get the same value."""
        made = [make(*args, **kwargs) if self.first else None]
        if self.many:
            torch.distributed.broadcast_object_list(made, src=0)
        return made[0]

    def all_agree(self, yes: bool) -> bool:
        """Whether all ranks say yes."""
        return all(self.gathered(yes))

    def gathered(self, value: Any) -> list[Any]:
        """The value of each rank, in their order."""
        if not self.many:
            return [value]
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Waits until all ranks are here."""
        if self.many:
            torch.distributed.barrier()


def shares(order: Sequence[int], batch: int, micro: int, ranks: int) -> list[int | None]:
    """The order in which N ranks read micro-batches by turns, so that all take the same steps.

    Rank r gets the rows r, r + N, ... of each step. A step's rows are sorted by length, so the
    ranks get equal work. None stands for a filler: all ranks have the same number of full
    micro-batches.

    Args:
        order: Numbers of rows, `batch` for each step; the last step may have fewer.
        batch: Rows per step.
        micro: Rows per micro-batch.
        ranks: N. One rank needs no fillers: it reads `order`.
    """
    if ranks == 1:
        return list(order)
    found: list[int | None] = []
    for start in range(0, len(order), batch):
        step = order[start : start + batch]
        rounds = Ranks(ranks).micro_batches(len(step), micro)
        own = [step[rank::ranks] for rank in range(ranks)]
        for place in range(0, rounds * micro, micro):
            for rows in own:
                held = rows[place : place + micro]
                found += [*held, *[None] * (micro - len(held))]
    return found


@dataclass(frozen=True)
class WithoutFillers:
    """Collates the rows of a micro-batch that are no fillers; one filler if there are no others."""

    collator: Any

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The batch, and `real`: how many rows are no fillers."""
        plain = [{name: row[name] for name in row if name != FILLER} for row in rows]
        real = [one for one, row in zip(plain, rows, strict=True) if not row.get(FILLER)]
        return {**self.collator(real or plain[:1]), "real": len(real)}


FILLER = "filler"
"""The column that says which rows are fillers."""
