"""How many tokens are still to be drawn, judged by rows that ended and rows that are still at work.

Short rows end first. So a mean over the rows that ended is too low for as long as others go on, and
a run whose rows are all long shows nothing done until they end together.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise


class RowLengths:
    """The lengths of rows that ended, and of those at work, which will be longer than they are."""

    def __init__(self) -> None:
        """No row has begun."""
        self._ended: Counter[float] = Counter()
        self.at_work: Sequence[int] = ()
        """Tokens that each row at work has so far."""
        self.limit = 0
        """The most tokens of a row; 0 if it is not known."""

    def end(self, length: float, rows: float) -> None:
        """Counts rows that ended with so many tokens each."""
        self._ended[length] += rows

    @property
    def drawn(self) -> float:
        """All tokens drawn so far."""
        return sum(length * rows for length, rows in self._ended.items()) + sum(self.at_work)

    def left(self, waiting: float) -> float:
        """Tokens still to be drawn: by the rows at work, and by `waiting` rows.

        A row goes on past each length with the share of those rows that did so among all that
        reached it (Kaplan and Meier 1958). What is longer than all that ended goes on to the limit.
        """
        lengths = sorted(self._ended)
        shares = self._survival(lengths)
        edges = [0.0, *lengths, max(self.limit, *lengths, *self.at_work, 0)]
        # The area below the curve of survival, from each edge to the limit.
        steps = [s * (b - a) for s, (a, b) in zip(shares, pairwise(edges), strict=True)]
        areas = list(accumulate(reversed(steps), initial=0.0))[::-1]

        def rest(length: float) -> float:
            place = min(bisect_right(edges, length) - 1, len(lengths))
            below = areas[place + 1] + shares[place] * (edges[place + 1] - length)
            return below / shares[place]

        return waiting * areas[0] + sum(map(rest, self.at_work))

    def _survival(self, lengths: Sequence[float]) -> list[float]:
        """The share of rows that go on past 0 tokens, and past each length at which rows ended."""
        going = sorted(self.at_work)
        reached = sum(self._ended.values())
        shares = [1.0]
        for length in lengths:
            risk = reached + len(going) - bisect_left(going, length)
            shares.append(shares[-1] * (1 - self._ended[length] / risk))
            reached -= self._ended[length]
        return shares
