"""What an engine is asked for about one shard of requests, as a value that can travel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm_kedro.engines.generation.base import GenerationEngine, Request
from srlm_kedro.records import Checkpoint


@dataclass(frozen=True)
class ShardCall:
    """A method of an engine with its arguments; the requests come later."""

    method: str
    """`generate` or `choice_logprobs`."""
    model: Checkpoint
    arguments: tuple[Any, ...]
    """After the requests."""
    width: int
    """Values in a row: completions, or choices."""

    def __call__(self, engine: GenerationEngine, requests: Sequence[Request]) -> list[list[Any]]:
        """The rows of a shard. Raises what the engine raises."""
        return getattr(engine, self.method)(self.model, requests, *self.arguments)

    def fault(self, requests: Sequence[Request], rows: Any) -> str | None:
        """Why these cannot be the rows of the requests; None if they can."""
        if not isinstance(rows, list) or len(rows) != len(requests):
            found = len(rows) if isinstance(rows, list) else type(rows).__name__
            return f"found {found} rows for {len(requests)} requests"
        for request, row in zip(requests, rows, strict=True):
            if not isinstance(row, list) or len(row) != self.width:
                return f"request {request.id} has a row that is not of {self.width} values"
        return None


def shards_of(requests: Sequence[Request], completions: int, width: int) -> list[Sequence[Request]]:
    """The requests in parts of about so many completions, of which each has `width`."""
    size = max(1, completions // width)
    return [requests[start : start + size] for start in range(0, len(requests), size)]
