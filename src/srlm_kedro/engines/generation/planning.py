"""Which samples are drawn together: long prompts first, within limits on rows and tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Some samples of one request."""

    request: int
    """Its place among the requests."""
    samples: range


def plan(
    lengths: Sequence[int], samples: int, new_tokens: int, max_rows: int, max_tokens: int
) -> Iterator[list[Share]]:
    """Batches that together hold every sample of every request once.

    Args:
        lengths: Tokens of each request's prompt.
        samples: Samples a request.
        new_tokens: Longest completion in tokens.
        max_rows: Most rows a batch.
        max_tokens: Most rows x (longest prompt + new_tokens) a batch; one row always fits.
    """
    batch: list[Share] = []
    room = 0
    for request in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        first = 0
        while first < samples:
            if not room:
                if batch:
                    yield batch
                # Prompts shorten from here on, so the first one's length bounds the whole batch.
                fitting = max_tokens // (lengths[request] + new_tokens)
                batch, room = [], max(1, min(max_rows, fitting))
            count = min(room, samples - first)
            batch.append(Share(request, range(first, first + count)))
            first, room = first + count, room - count
    if batch:
        yield batch
