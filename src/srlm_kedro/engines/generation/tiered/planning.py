"""Which samples are drawn in one wave, whose buffers are made for its longest prompt."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Some samples of one request."""

    request: int
    """Its place among the requests."""
    samples: range


@dataclass(frozen=True)
class Wave:
    """Shares that are drawn one after the other, so many rows at once."""

    shares: list[Share]
    """Long prompts first, so that those which draw together are of like length."""
    rows: int


def waves(
    shares: Sequence[Share], lengths: Sequence[int], capacity: Callable[[int], int]
) -> Iterator[Wave]:
    """Waves that together hold every share once; a share wider than a wave is cut.

    A wave that is full ends where prompts are half as long as its first and more rows would fit.

    Args:
        shares: What is to be drawn.
        lengths: Tokens of each request's prompt.
        capacity: Rows that fit at once beside prompts of so many tokens.
    """
    left = sorted(shares, key=lambda share: -lengths[share.request])
    while left:
        longest = lengths[left[0].request]
        rows = capacity(longest)
        held = count = 0
        for share in left:
            length = lengths[share.request]
            if held >= rows and 2 * length < longest and capacity(length) > rows:
                break
            held, count = held + len(share.samples), count + 1
        parts = [part for share in left[:count] for part in _cut(share, rows)]
        yield Wave(parts, min(rows, held))
        left = left[count:]


def _cut(share: Share, most: int) -> Iterator[Share]:
    for start in range(share.samples.start, share.samples.stop, most):
        yield Share(share.request, range(start, min(start + most, share.samples.stop)))
